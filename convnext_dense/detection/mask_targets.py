"""What the mask head is trained towards: the annotated bitmaps, cut and resized to RoIs.

mmdet copies the whole bitmap for each RoI and samples it point by point. But RoIAlign of one
bitmap and one box is a product of three matrices: the weights of the rows, the bitmap, and the
weights of the columns.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from convnext_dense.detection.roi_align import weights_of_both_axes

if TYPE_CHECKING:
    from mmdet.structures.mask import BitmapMasks

#: covered shares so close to a half are left to mmcv's operator, where its rounding decides
NEAR = 1e-4


@torch.autocast('cpu', enabled=False)  # shares of pixels
def crop_and_resize(masks: BitmapMasks, boxes: np.ndarray, size: tuple[int, int],
                    indices: np.ndarray) -> np.ndarray:
    """``BitmapMasks.crop_and_resize`` with the same values.

    Args:
        masks (BitmapMasks): masks of an image.
        boxes (np.ndarray): float32, shape (K, 4): x1, y1, x2, y2 in pixels, x1 <= x2, y1 <= y2.
        size (tuple[int]): height and width of the results.
        indices (np.ndarray): int64, shape (K, ), the mask of each box.

    Returns:
        np.ndarray: bool, shape (K, *size), where at least half of a bin is covered.
    """
    corners = torch.from_numpy(boxes) - .5
    starts, extents = corners[:, :2], corners[:, 2:] - corners[:, :2]
    lengths = masks.width, masks.height
    columns, rows = map(_weight_matrices, lengths, weights_of_both_axes(
        starts, extents, torch.tensor([lengths]).expand(len(boxes), -1), size[::-1], 0))
    covered = torch.zeros(len(boxes), *size)
    for index in np.unique(indices):
        bitmap = masks.masks[index]
        occupied = _range(bitmap.max(1)), _range(bitmap.max(0))
        bitmap = torch.from_numpy(bitmap[occupied]).float()
        chosen = torch.from_numpy(indices == index)
        covered[chosen] = rows[chosen][:, :, occupied[0]] @ bitmap @ \
            columns[chosen][:, :, occupied[1]].mT
    near = ((covered - .5).abs() < NEAR).flatten(1).any(1).numpy()
    inside = (covered >= .5).numpy()
    if near.any():
        inside[near] = masks.crop_and_resize(boxes[near], size, indices[near]).masks
    return inside


def _weight_matrices(length, axis):
    """The share of each pixel of an axis in each bin: shape (K, bins, length)."""
    first, _, weights = axis
    places = first[:, :, None] + torch.arange(weights.shape[2])
    return weights.new_zeros(*first.shape, length).scatter_add_(
        2, places.clamp(max=length - 1), weights)


def _range(occupied):
    """The slice from the first to the last value that is not 0."""
    places = np.flatnonzero(occupied)
    return slice(places[0], places[-1] + 1) if len(places) else slice(0)
