"""Pasting the masks of an image's instances into it, on CPUs: all at once, or only their boxes.

Bilinear interpolation is separable: a mask in the image is ``rows @ mask @ columns``, where each
row of the matrices has two weights that are not zero.
"""
import numpy as np
import torch
from torch import Tensor

#: pixels that are pasted at a time; their floats stay in the cache
CHUNK = 2**21


@torch.autocast('cpu', enabled=False)  # weights of interpolation
def paste_masks(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    """Paste masks into the image, as ``mmdet``'s ``FCNMaskHead`` does.

    Args:
        masks (Tensor): (n, h, w), float32, values in [0, 1].
        boxes (Tensor): (n, 4), x1, y1, x2, y2 in pixels; parts outside the image are left out.
        height, width (int): of the image in pixels.
        threshold (float): least value that belongs to the instance.

    Returns:
        Tensor: (n, height, width), bool, columns after one another in memory, which is the order
        of COCO's run-length encoding.
    """
    x, y = torch.arange(width), torch.arange(height)
    rows = _weights(boxes[:, 1], boxes[:, 3], y, masks.shape[1])
    columns = _weights(boxes[:, 0], boxes[:, 2], x, masks.shape[2])
    inside_y = _inside(boxes[:, 1], boxes[:, 3], y)
    inside_x = _inside(boxes[:, 0], boxes[:, 2], x)
    pasted = torch.empty(len(masks), width, height, dtype=torch.bool)
    masks = masks.float()
    step = max(CHUNK // (height * width), 1)
    for begin in range(0, len(masks), step):
        part = slice(begin, begin + step)
        values = torch.bmm(columns[part] @ masks[part].transpose(1, 2), rows[part].transpose(1, 2))
        torch.ge(values, threshold, out=pasted[part])
        if threshold <= 0:  # what lies around the box has the value 0
            pasted[part] &= inside_x[part, :, None] & inside_y[part, None]
    return pasted.transpose(1, 2)


@torch.autocast('cpu', enabled=False)
def paste_crops(masks: Tensor, boxes: Tensor, height: int, width: int,
                threshold: float) -> list[tuple[int, int, np.ndarray]]:
    """The masks of :func:`paste_masks`, each only where its box lies.

    They take the memory of the boxes, where those take that of an image for each mask.

    Args:
        masks, boxes, height, width, threshold: of :func:`paste_masks`.

    Returns:
        list[tuple[int, int, numpy.ndarray]]: left, top, and the mask from there on, bool of shape
        (h, w); all around it is False.
    """
    limits = boxes.new_tensor([width, height])
    begin = (boxes[:, :2].floor() - 1).clamp(min=0).minimum(limits).nan_to_num(0).int()
    end = (boxes[:, 2:].ceil() + 1).clamp(min=0).minimum(limits).nan_to_num(0).int()
    crops = []
    for mask, box, (left, top), (right, bottom) in zip(
            masks.float(), boxes[:, :, None], begin.tolist(), end.tolist(), strict=True):
        x, y = torch.arange(left, right), torch.arange(top, bottom)
        pasted = torch.empty(len(y), len(x), dtype=torch.bool)
        rows, = _weights(box[1], box[3], y, mask.shape[0])
        columns = mask @ _weights(box[0], box[2], x, mask.shape[1])[0].T
        step = max(CHUNK // max(len(x), 1), 1)
        for first in range(0, len(y), step):
            part = slice(first, first + step)
            torch.ge(rows[part] @ columns, threshold, out=pasted[part])
        crops.append((left, top, pasted.numpy()))
    return crops


def _weights(start, end, pixels, cells):
    """Weights of the cells of the masks for pixels along one axis: (n, pixels, cells)."""
    place = pixels.float() + 0.5
    place = (place - start[:, None]) / (end - start)[:, None] * 2 - 1
    place = place.masked_fill(place.isinf(), 0)  # mmdet's rule for boxes without extent
    place = ((place + 1) * cells - 1) / 2
    distance = (place[:, :, None] - torch.arange(cells, dtype=torch.float32)).abs_()
    weights = distance.neg_().add_(1).clamp_(min=0)
    return weights * _inside(start, end, pixels)[:, :, None]


def _inside(start, end, pixels):
    """Which pixels along one axis lie within one pixel of the boxes: (n, pixels)."""
    return (pixels >= (start.floor() - 1)[:, None]) & (pixels < (end.ceil() + 1)[:, None])
