"""Pasting the masks of an image's instances into it, on CPUs: matrix products for many at once.

Bilinear interpolation is separable: a mask in the image is ``rows @ mask @ columns``, where each
row of the matrices has two weights that are not zero.
"""
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
    rows = _weights(boxes[:, 1], boxes[:, 3], height, masks.shape[1])
    columns = _weights(boxes[:, 0], boxes[:, 2], width, masks.shape[2])
    inside_y = _inside(boxes[:, 1], boxes[:, 3], height)
    inside_x = _inside(boxes[:, 0], boxes[:, 2], width)
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


def _weights(start, end, size, cells):
    """Weights of the cells of the masks for each pixel along one axis: (n, size, cells)."""
    place = torch.arange(size, dtype=torch.float32) + 0.5
    place = (place - start[:, None]) / (end - start)[:, None] * 2 - 1
    place = place.masked_fill(place.isinf(), 0)  # mmdet's rule for boxes without extent
    place = ((place + 1) * cells - 1) / 2
    distance = (place[:, :, None] - torch.arange(cells, dtype=torch.float32)).abs_()
    weights = distance.neg_().add_(1).clamp_(min=0)
    return weights * _inside(start, end, size)[:, :, None]


def _inside(start, end, size):
    """Which pixels along one axis lie within one pixel of the boxes: (n, size)."""
    place = torch.arange(size)
    return (place >= (start.floor() - 1)[:, None]) & (place < (end.ceil() + 1)[:, None])
