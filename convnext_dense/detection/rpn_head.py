"""mmdet's RPN head for CPUs: it leaves out what has no influence on gradients and proposals.

The loss of an RPN (Faster R-CNN, arXiv 1506.01497, section 3.1.3) is that of a few hundred sampled
anchors among up to hundreds of thousands. At all other pixels the gradients of the outputs are
zero, and what these would add to those of the layers is left out. Non-maximum suppression of the
proposals ends when there are as many as are wanted.
"""
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.ops import nms
from mmdet.models.dense_heads import RPNHead as MMDetRPNHead
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from convnext_dense.chunks import chunks
from convnext_dense.plain_layers import in_float32_on_cpu, is_plain
from convnext_dense.registry import MODELS

#: boxes that non-maximum suppression tries first, as a multiple of those that it is to keep
FIRST_TRY = 3


@MODELS.register_module()
class RPNHead(MMDetRPNHead):
    """``mmdet.RPNHead`` with the same arguments and results."""

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, A, H, W) and box deltas (N, 4A, H, W) of the anchors of a map (N, C, H, W)."""
        layers = self.rpn_conv, self.rpn_cls, self.rpn_reg
        if self.num_convs > 1 or not torch.is_grad_enabled() or not in_float32_on_cpu(x) or \
                not all(is_plain(layer) and isinstance(layer, nn.Conv2d) for layer in layers):
            return super().forward_single(x)
        return _GradientsOfFewPixels.apply(super().forward_single, x, *(
            tensor for layer in layers for tensor in (layer.weight, layer.bias)))

    def _predict_by_feat_single(self, cls_score_list, bbox_pred_list, score_factor_list,
                                mlvl_priors, img_meta, cfg, rescale=False, with_nms=True):
        """As mmdet's, which sorts all scores of a level to take its ``cfg.nms_pre`` best anchors.

        Levels with more anchors come as maps of these best ones, (A, nms_pre, 1) with A = 1.
        """
        most = (self.test_cfg if cfg is None else cfg).get('nms_pre', -1)
        levels = [self._best_anchors(most, *level)
                  for level in zip(cls_score_list, bbox_pred_list, mlvl_priors)]
        cls_score_list, bbox_pred_list, mlvl_priors = zip(*levels)
        return super()._predict_by_feat_single(
            cls_score_list, bbox_pred_list, score_factor_list, mlvl_priors, img_meta, cfg,
            rescale, with_nms)

    def _best_anchors(self, most, scores, deltas, priors):
        if not 1 < most < scores.numel() or not self.use_sigmoid_cls or \
                scores.device.type != 'cpu':
            return scores, deltas, priors
        scores = scores.permute(1, 2, 0).flatten()
        best = scores.topk(most).indices
        deltas = deltas.permute(1, 2, 0).reshape(len(scores), -1)
        return scores[best].view(1, -1, 1), deltas[best].T[..., None], priors[best]

    def _bbox_post_process(self, results, cfg, rescale=False, with_nms=True, img_meta=None):
        """As mmdet's; whether a box is kept depends on those of higher scores only."""
        wanted = cfg.max_per_img
        number = FIRST_TRY * wanted
        if with_nms and 0 < number < len(results) and results.scores.device.type == 'cpu' and \
                cfg.nms and cfg.nms.get('type', 'nms') in ('nms', nms):
            descending = results.scores.argsort(descending=True, stable=True)
            while number < len(results):
                kept = super()._bbox_post_process(
                    results[descending[:number]], cfg, rescale, with_nms, img_meta)
                if len(kept) >= wanted:
                    return kept
                number *= 2
        return super()._bbox_post_process(results, cfg, rescale, with_nms, img_meta)


class _GradientsOfFewPixels(Function):
    """The outputs of a function of a map, with gradients for the map and for the parameters.

    A loss of sampled anchors has a gradient of 0 at all other pixels, and the function of a pixel
    (a 3x3 convolution, ReLU and two 1x1 ones) sees its nine neighbours only. So the pixels with a
    gradient go through it once more, as a batch of neighbourhoods (K, 9, C), by torch's autograd;
    what each neighbour gets is added to its place in the map.
    """

    @staticmethod
    def forward(ctx: Any, function: Callable, x: Tensor, *parameters: Tensor) -> Any:
        ctx.save_for_backward(x, *parameters)
        return function(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *output_grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors
        images, _, height, width = x.shape
        x, *grads_of_outputs = (_rows(maps) for maps in (x, *output_grads))
        pixels = sum((rows != 0).any(1) for rows in grads_of_outputs).nonzero()
        neighbours, inside = _neighbours(pixels, height, width)
        grads = [torch.zeros_like(tensor) for tensor in (x, *parameters)]
        for part in chunks(len(pixels), parameters[0][0].numel()):
            index, exists = neighbours[part], inside[part]
            patches = x[index].mul_(exists[..., None])
            with torch.enable_grad():
                leaves = [tensor.detach().requires_grad_() for tensor in (patches, *parameters)]
                outputs = _outputs(*leaves)
            patches_grad, *parameter_grads = torch.autograd.grad(
                outputs, leaves, [rows[pixels[part, 0]] for rows in grads_of_outputs])
            # a pixel occurs once as the same neighbour: nothing is added to a place twice
            for tap in range(9):
                there = exists[:, tap]
                grads[0][index[there, tap]] += patches_grad[there, tap]
            for total, grad in zip(grads[1:], parameter_grads):
                total += grad
        grads[0] = grads[0].view(images, height, width, -1).permute(0, 3, 1, 2)
        return None, *grads


def _rows(maps):
    """Maps (N, C, H, W) as one row of channels a pixel: (N * H * W, C)."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def _neighbours(pixels, height, width):
    """The 3x3 neighbourhoods of pixels.

    Args:
        pixels (Tensor): int64, shape (K, 1), numbers of the pixels in the order of
            :func:`_rows`.

    Returns:
        tuple[Tensor]: numbers of the neighbours, int64, and whether they lie in the image, both
        of shape (K, 9). Those outside have the number of the pixel itself.
    """
    steps = torch.arange(-1, 2)
    down, right = steps.repeat_interleave(3), steps.repeat(3)
    y, x = pixels // width % height + down, pixels % width + right
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return torch.where(inside, pixels + down * width + right, pixels), inside


def _outputs(patches, conv, conv_bias, *layers):
    """Scores and deltas (K, A) and (K, 4A) of pixels with the neighbourhoods (K, 9, C)."""
    hidden = F.linear(patches.flatten(1), conv.permute(0, 2, 3, 1).flatten(1), conv_bias).relu()
    return [F.linear(hidden, weight.flatten(1), bias)
            for weight, bias in zip(layers[::2], layers[1::2])]
