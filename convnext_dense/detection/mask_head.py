"""mmdet's mask head with faster ways from the image's masks to its own, and back."""
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.wrappers import Conv2d, ConvTranspose2d
from mmdet.models.roi_heads.mask_heads import FCNMaskHead as MMDetFCNMaskHead
from mmdet.structures.mask import BitmapMasks, mask_target
from mmengine.utils import to_2tuple
from torch import Tensor, nn

from convnext_dense.chunks import chunks
from convnext_dense.detection.mask_pasting import paste_crops, paste_masks
from convnext_dense.detection.mask_targets import crop_and_resize
from convnext_dense.plain_layers import is_plain
from convnext_dense.registry import MODELS


@MODELS.register_module()
class FCNMaskHead(MMDetFCNMaskHead):
    """``mmdet.FCNMaskHead`` with the same arguments and results.

    On a CPU masks are pasted by matrix products (see :mod:`.mask_pasting`), and bitmaps are cut to
    RoIs without a copy of the bitmap for each RoI. :class:`.roi_heads.CascadeRoIHead` and
    ``StandardRoIHead`` have it compute the masks of the predicted classes only.

    Attributes:
        cropped (bool): the masks of an image are a list of what :func:`.mask_pasting.paste_crops`
            gives, instead of a tensor in the image's size for each.
    """
    cropped = False

    def computes_labels(self) -> bool:
        """Whether :meth:`forward_labels` knows these layers."""
        upsample, logits = self.upsample, self.conv_logits
        return is_plain(self) and is_plain(upsample, nn.ConvTranspose2d, ConvTranspose2d) and \
            upsample.stride == upsample.kernel_size and \
            upsample.padding == upsample.output_padding == (0, 0) and \
            upsample.dilation == (1, 1) and upsample.groups == 1 and \
            is_plain(logits, nn.Conv2d, Conv2d) and logits.groups == 1 and \
            upsample.bias is not None and logits.bias is not None

    def forward_labels(self, x: Tensor, labels: Tensor) -> Tensor:
        """Logits of one class for each RoI: what :meth:`forward` has in its channel.

        Args:
            x (Tensor): features of RoIs, float32 of shape (K, in_channels, H, W), on a CPU.
            labels (Tensor): classes, int64 of shape (K, ).

        Returns:
            Tensor: shape (K, 1, scale_factor * H, scale_factor * W).
        """
        for conv in self.convs:
            x = conv(x)
        if self.class_agnostic:
            labels = torch.zeros_like(labels)
        rois, channels, height, width = x.shape
        x = x.permute(0, 2, 3, 1).reshape(rois, -1, channels)
        # the enlarged pixels do not overlap: each takes a product with one tap
        _, features, down, right = self.upsample.weight.shape
        weight = self.upsample.weight.permute(2, 3, 1, 0).reshape(-1, channels)
        bias = self.upsample.bias.repeat(down * right)
        of_labels = self.conv_logits.weight[labels].view(rois, features, 1)
        logits = x.new_empty(rois, height, width, down, right)
        for part in chunks(rois, logits[0].numel() * features):
            enlarged = F.linear(x[part], weight, bias).relu_().view(len(x[part]), -1, features)
            logits[part] = (enlarged @ of_labels[part]).view_as(logits[part])
        logits += self.conv_logits.bias[labels].view(-1, 1, 1, 1, 1)
        return logits.transpose(2, 3).reshape(rois, 1, down * height, right * width)

    def get_targets(self, sampling_results: list, batch_gt_instances: list, rcnn_train_cfg: Any
                    ) -> Tensor | list:
        targets = [_targets_of_image(sampled, instances.masks, rcnn_train_cfg)
                   for sampled, instances in zip(sampling_results, batch_gt_instances)]
        return torch.cat(targets) if targets else targets

    def _predict_by_feat_single(self, mask_preds, bboxes, labels, img_meta, rcnn_test_cfg,
                                rescale=False, activate_map=False):
        threshold = rcnn_test_cfg.mask_thr_binary
        if threshold < 0 or not (self.cropped or bboxes.device.type == 'cpu'):
            return super()._predict_by_feat_single(
                mask_preds, bboxes, labels, img_meta, rcnn_test_cfg, rescale, activate_map)
        channel = labels if mask_preds.shape[1] > 1 else 0
        masks = mask_preds[range(len(labels)), channel].float()
        if not activate_map:
            masks = masks.sigmoid()
        factor = bboxes.new_tensor(img_meta['scale_factor'])
        height, width = img_meta['ori_shape'][:2]
        if rescale:
            bboxes /= factor.repeat(2)  # in place: the caller's boxes are scaled with the masks
        else:
            height, width = (int(np.round(side * float(scale)))
                             for side, scale in zip((height, width), factor.flip(0)))
        if self.cropped:
            return paste_crops(masks.cpu(), bboxes.float().cpu(), height, width, threshold)
        return paste_masks(masks, bboxes.float(), height, width, threshold)


def _targets_of_image(sampled, masks, cfg):
    """Targets of the RoIs with an object, float32 of shape (K, height, width)."""
    boxes, indices = sampled.pos_priors, sampled.pos_assigned_gt_inds
    if type(masks) is not BitmapMasks or cfg.get('soft_mask_target') or not len(boxes) or \
            boxes.device.type != 'cpu' or boxes.dtype != torch.float32:
        return mask_target([boxes], [indices], [masks], cfg)
    limit = boxes.new_tensor([masks.width, masks.height]).repeat(2)
    boxes.clamp_(min=0).clamp_(max=limit)  # in place, as mmdet's does
    cropped = crop_and_resize(masks, boxes.numpy(), to_2tuple(cfg.mask_size), indices.numpy())
    return torch.from_numpy(cropped).float()
