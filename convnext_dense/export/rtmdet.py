"""RTMDet as one network: from images to boxes, scores and classes."""
from typing import Any

import torch
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.export.detector import clip, describe_objects
from convnext_dense.export.layers import first_layer
from convnext_dense.export.operators import suppress

#: the neck doubles the size of its maps exactly
MULTIPLE = 32


class OneStageNetwork(nn.Module):
    """RTMDet (arXiv 2212.07784), as mmdet computes it.

    Inputs and outputs are those of :class:`.detector.TwoStageNetwork` without masks; height and
    width are multiples of 32.

    Args:
        model (nn.Module): ``RTMDet`` of mmdet, in evaluation mode.
        normalise (bool): ``images`` are uint8 in BGR order, which are normalised inside.

    Raises:
        InputError: a part of the model does something that this does not know.
    """

    def __init__(self, model: Any, normalise: bool):
        super().__init__()
        check(model)
        self.model = model
        self.normalise = first_layer(model, normalise)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        height, width = images.shape[2:]
        images = self.normalise(images)
        head = self.model.bbox_head
        cfg = head.test_cfg
        parts = []
        for level, (logits, distances) in enumerate(zip(*head(self.model.extract_feat(images)))):
            batch, classes, rows, columns = logits.shape
            points = head.prior_generator.single_level_grid_priors(
                (rows, columns), level, device=logits.device)
            scores = logits.permute(0, 2, 3, 1).reshape(batch, -1).sigmoid()
            scores = scores * (scores > cfg.get('score_thr', 0))
            number = scores.shape[1]
            if cfg.get('nms_pre', -1) > 0:
                number = torch.sym_min(number, cfg.nms_pre)
            scores, index = scores.topk(number, dim=1)
            place = torch.div(index, classes, rounding_mode='floor')
            distances = distances.permute(0, 2, 3, 1).reshape(batch, -1, 4)
            distances = distances.gather(1, place[:, :, None].expand(-1, -1, 4))
            centres = points[place]
            boxes = torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], 2)
            parts.append((boxes, scores, index - place * classes))
        boxes, scores, labels = (torch.cat(part, 1) for part in zip(*parts))
        image, index = (scores > 0).nonzero(as_tuple=True)
        boxes, scores, labels = boxes[image, index], scores[image, index], labels[image, index]
        boxes = clip(boxes, height, width)
        sides = boxes[:, 2:] - boxes[:, :2]
        allowed = scores * (sides > max(cfg.get('min_bbox_size', -1), -1)).all(-1)
        largest = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).amax(0)
        apart = boxes + (labels * (largest + 1))[:, None]
        kept = suppress(apart, allowed, image, torch.arange(images.shape[0]),
                        cfg.nms.iou_threshold, cfg.max_per_img)
        return boxes[kept], scores[kept], labels[kept], image[kept]


def check(model: Any) -> None:
    """Refuse a detector that :class:`OneStageNetwork` would compute in another way than mmdet.

    Raises:
        InputError: the part that is not known.
    """
    from mmdet.models.dense_heads import RTMDetHead, RTMDetSepBNHead
    from mmdet.models.detectors import SingleStageDetector
    head: Any = getattr(model, 'bbox_head', None)
    if not isinstance(model, SingleStageDetector) or \
            type(head) not in (RTMDetHead, RTMDetSepBNHead):
        raise InputError(f'{type(model).__name__} with {type(head).__name__}: of detectors, Mask '
                         'R-CNN, Cascade R-CNN, RTMDet and DINO are exported')
    nms = head.test_cfg.nms
    if nms.get('type', 'nms') != 'nms' or nms.get('class_agnostic'):
        raise InputError(f"test_cfg.nms={dict(nms)}: ONNX has hard NMS by class; set type='nms'")


def describe(network: OneStageNetwork) -> dict:
    """What a card says of the network: ``inputs``, ``outputs`` and ``network``."""
    return dict(describe_objects(network), network=dict(least_side=64, multiple=MULTIPLE))
