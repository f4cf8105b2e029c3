"""The two operators of detectors that torch has not: RoIAlign and non-maximum suppression.

Each is one operator in torch's graph and becomes ONNX's own operators when the graph is written.
"""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

NAMESPACE = 'convnext_dense'


@torch.library.custom_op(f'{NAMESPACE}::suppress', mutates_args=())
def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, names: Tensor, iou: float, most: int
             ) -> Tensor:
    """Non-maximum suppression in each group of boxes.

    Args:
        boxes (Tensor): (K, 4), x1, y1, x2, y2.
        scores (Tensor): (K, ); boxes of score 0 are left out.
        groups (Tensor): int64, (K, ), the group of each box.
        names (Tensor): int64, (G, ), all groups: 0 to G - 1.
        iou (float): a box that overlaps one of higher score by more is left out.
        most (int): boxes of a group that are kept.

    Returns:
        Tensor: int64, indices of the boxes that are kept, by group and falling score.
    """
    from mmcv.ops import nms
    kept = []
    for group in range(len(names)):
        index = ((groups == group) & (scores > 0)).nonzero()[:, 0]
        if len(index):
            kept.append(index[nms(boxes[index], scores[index], iou)[1][:most]])
    return torch.cat(kept) if kept else groups.new_zeros(0)


@suppress.register_fake
def _(boxes, scores, groups, names, iou, most):
    number = torch.library.get_ctx().new_dynamic_size()
    return groups.new_empty(number)


@torch.library.custom_op(f'{NAMESPACE}::roi_align', mutates_args=())
def roi_align(maps: Sequence[Tensor], boxes: Tensor, images: Tensor, levels: Tensor,
              scales: Sequence[float], size: int, samples: int, aligned: bool) -> Tensor:
    """RoIAlign of every box on its level of a pyramid.

    Args:
        maps (Sequence[Tensor]): (N, C, H, W) of each level.
        boxes (Tensor): (K, 4), x1, y1, x2, y2 in pixels of the images.
        images, levels (Tensor): int64, (K, ), the image and the level of each box.
        scales (Sequence[float]): of the levels, 1 / stride.
        size (int): rows and columns of the output.
        samples (int): samples a bin along each axis; 0 takes about one a map pixel.
        aligned (bool): shift the boxes by half a map pixel.

    Returns:
        Tensor: (K, C, size, size).
    """
    from convnext_dense.detection.roi_align import RoIAlign, roi_align_levels
    layers = [RoIAlign(size, scale, samples, 'avg', aligned) for scale in scales]
    rois = torch.cat([images[:, None].to(boxes), boxes], 1)
    return roi_align_levels(maps, rois, layers, levels).contiguous()


@roi_align.register_fake
def _(maps, boxes, images, levels, scales, size, samples, aligned):
    return boxes.new_empty(boxes.shape[0], maps[0].shape[1], size, size)


def translations() -> dict[Callable, Callable]:
    """How ONNX says these operators, for ``torch.onnx.export``."""
    from onnxscript import opset18
    op: Any = opset18  # its hints ask for one type of each tensor

    def onnx_suppress(boxes, scores, groups, names, iou, most):
        mine = op.Equal(op.Unsqueeze(names, op.Constant(value_ints=[1])),
                        op.Unsqueeze(groups, op.Constant(value_ints=[0])))
        nothing = op.Constant(value_float=0.)
        of_groups = op.Unsqueeze(op.Where(mine, scores, nothing), op.Constant(value_ints=[0]))
        chosen = op.NonMaxSuppression(
            op.Unsqueeze(boxes, op.Constant(value_ints=[0])), of_groups,
            op.Constant(value_int=most), op.Constant(value_float=iou), nothing)
        return op.Gather(chosen, op.Constant(value_int=2), axis=1)

    def onnx_roi_align(maps, boxes, images, levels, scales, size, samples, aligned):
        mode = 'half_pixel' if aligned else 'output_half_pixel'
        features, orders = [], []
        for level, (x, scale) in enumerate(zip(maps, scales)):
            index = op.Squeeze(op.NonZero(op.Equal(levels, op.Constant(value_int=level))),
                               op.Constant(value_ints=[0]))
            features.append(op.RoiAlign(
                x, op.Gather(boxes, index), op.Gather(images, index), mode='avg',
                output_height=size, output_width=size, sampling_ratio=samples,
                spatial_scale=scale, coordinate_transformation_mode=mode))
            orders.append(index)
        order = op.Concat(*orders, axis=0)
        # where each box lies among those sorted by level
        count = op.Size(order)
        place = op.Range(op.Constant(value_int=0), count, op.Constant(value_int=1))
        back = op.ScatterElements(place, order, place)
        return op.Gather(op.Concat(*features, axis=0), back)

    operators = getattr(torch.ops, NAMESPACE)
    return {operators.suppress.default: onnx_suppress, operators.roi_align.default: onnx_roi_align}
