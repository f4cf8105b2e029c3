"""Pasting the masks of an image's instances into it, on CPUs: only where their boxes lie.

Bilinear interpolation is separable: a mask in the image is ``rows @ mask @ columns``, where each
row of the matrices has two weights that are not zero.
"""
import numpy as np
import torch
from torch import Tensor

#: pixels that are pasted at a time; their floats stay in the cache
CHUNK = 2**21


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
    # of numpy, whose zeros take no memory until something is written there
    pasted = torch.from_numpy(np.zeros((len(masks), width, height), bool))
    for image, (left, top, crop) in zip(pasted, _crops(masks, boxes, height, width, threshold)):
        image[left:left + len(crop), top:top + crop.shape[1]] = crop
    return pasted.transpose(1, 2)


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
    return [(left, top, crop.T.numpy())
            for left, top, crop in _crops(masks, boxes, height, width, threshold)]


@torch.autocast('cpu', enabled=False)  # weights of interpolation
def _crops(masks, boxes, height, width, threshold):
    """Left, top and the pasted mask (w, h) within one pixel of each box."""
    limits = boxes.new_tensor([width, height])
    begin = (boxes[:, :2].floor() - 1).clamp(min=0).minimum(limits).nan_to_num(0).int()
    end = (boxes[:, 2:].ceil() + 1).clamp(min=0).minimum(limits).nan_to_num(0).int()
    columns = _weights(boxes[:, 0], boxes[:, 2], width, masks.shape[2])
    rows = (_weights(boxes[:, 1], boxes[:, 3], height, masks.shape[1]) @ masks.float()).mT
    crops = []
    for (left, top), (right, bottom), across, down in zip(
            begin.tolist(), end.tolist(), columns, rows, strict=True):
        across, down = across[left:right], down[:, top:bottom]
        crop = torch.empty(len(across), down.shape[1], dtype=torch.bool)
        step = max(CHUNK // max(down.shape[1], 1), 1)
        for first in range(0, len(across), step):
            part = slice(first, first + step)
            torch.ge(across[part] @ down, threshold, out=crop[part])
        crops.append((left, top, crop))
    return crops


def _weights(start, end, size, cells):
    """Weights of the cells of the masks for each pixel along one axis: (n, size, cells)."""
    pixels = torch.arange(size)
    place = pixels.float() + 0.5
    place = (place - start[:, None]) / (end - start)[:, None] * 2 - 1
    place = place.masked_fill(place.isinf(), 0)  # mmdet's rule for boxes without extent
    place = ((place + 1) * cells - 1) / 2
    distance = (place[:, :, None] - torch.arange(cells, dtype=torch.float32)).abs_()
    inside = (pixels >= (start.floor() - 1)[:, None]) & (pixels < (end.ceil() + 1)[:, None])
    return distance.neg_().add_(1).clamp_(min=0) * inside[:, :, None]
