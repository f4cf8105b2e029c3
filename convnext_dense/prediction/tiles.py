"""Large images in overlapping tiles, so that small objects keep their pixels.

An object that lies on the border of a tile is cut there, and whole in a neighbour if it is smaller
than the overlap; larger ones are whole in the view of the whole image. So whole boxes win over
cut ones: NMS chooses among the whole ones first, and a cut one stays only where no box of its
class, whole or cut, covers most of it.
"""
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

#: share of a cut box that a kept box of its class covers to be the same object
COVERED = .5
BORDER = 2  # pixels from a tile's border within which a box counts as cut


class Tile(NamedTuple):
    """A part of an image in pixels: rows ``top`` to ``bottom``, columns ``left`` to ``right``."""
    left: int
    top: int
    right: int
    bottom: int

    def crop(self, image: np.ndarray) -> np.ndarray:
        """The part of an array of shape (H, W, ...)."""
        return image[self.top:self.bottom, self.left:self.right]


def tiles_of(height: int, width: int, size: int, overlap: float) -> list[Tile]:
    """Tiles of one size that cover an image, evenly spread.

    Args:
        height, width (int): of the image in pixels.
        size (int): side of a tile; a shorter side of the image is taken whole.
        overlap (float): least share of a tile's side that neighbours have in common, in [0, 1).

    Returns:
        list[Tile]: row by row.
    """
    return [Tile(left, top, left + min(size, width), top + min(size, height))
            for top in _starts(height, size, overlap) for left in _starts(width, size, overlap)]


def _starts(length, size, overlap):
    if length <= size:
        return [0]
    number = math.ceil((length - size) / max(int(size * (1 - overlap)), 1)) + 1
    return [round(index * (length - size) / (number - 1)) for index in range(number)]


def keep_best(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, tiles: Sequence[Tile],
              height: int, width: int, iou_threshold: float) -> np.ndarray:
    """Which of the boxes of all tiles of an image stay.

    Args:
        boxes (ndarray): (N, 4), x1, y1, x2, y2 in pixels of the image.
        scores, labels (ndarray): (N, ).
        tiles (Sequence[Tile]): the tile of each box.
        height, width (int): of the image.
        iou_threshold (float): boxes of one class that overlap more are one object.

    Returns:
        ndarray: indices of the boxes that stay, by falling score.
    """
    if not len(boxes):
        return np.zeros(0, int)
    cut = is_cut(boxes, np.asarray(tiles), height, width)
    whole = np.flatnonzero(~cut)
    kept = whole[_nms(boxes[whole], scores[whole], labels[whole], iou_threshold)]
    for index in sorted(np.flatnonzero(cut), key=lambda index: -scores[index]):
        rivals = kept[labels[kept] == labels[index]]
        if not len(rivals) or _covered(boxes[index], boxes[rivals]).max() < COVERED:
            kept = np.append(kept, index)
    return kept[np.argsort(-scores[kept], kind='stable')]


def is_cut(boxes: np.ndarray, tiles: np.ndarray, height: int, width: int) -> np.ndarray:
    """Whether boxes (N, 4) reach a border of their tile (N, 4) that is none of the image: (N, )."""
    inner = np.stack([tiles[:, 0] > 0, tiles[:, 1] > 0, tiles[:, 2] < width,
                      tiles[:, 3] < height], 1)
    return (inner & (np.abs(boxes - tiles) <= BORDER)).any(1)


def _nms(boxes, scores, labels, iou_threshold):
    import torch
    from mmcv.ops import batched_nms
    if not len(boxes):
        return np.zeros(0, int)
    _, kept = batched_nms(torch.from_numpy(boxes), torch.from_numpy(scores),
                          torch.from_numpy(labels), dict(type='nms', iou_threshold=iou_threshold))
    return kept.numpy()


def _covered(box, others):
    """Share of the area of the smaller of the two that lies in both, for each of ``others``."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.clip(high - low, 0, None).prod(1)
    areas = np.minimum((box[2:] - box[:2]).prod(), (others[:, 2:] - others[:, :2]).prod(1))
    return common / np.maximum(areas, 1e-6)


def join_label_maps(label_maps: Sequence[np.ndarray], tiles: Sequence[Tile], height: int,
                    width: int) -> np.ndarray:
    """The label map of an image from its tiles'; overlaps are divided in the middle.

    Args:
        label_maps (Sequence[ndarray]): of the tiles.
        tiles (Sequence[Tile]): as :func:`tiles_of` gives them.
        height, width (int): of the image.

    Returns:
        ndarray: (height, width).
    """
    joined = np.zeros((height, width), label_maps[0].dtype)
    rows = sorted({(tile.top, tile.bottom) for tile in tiles})
    columns = sorted({(tile.left, tile.right) for tile in tiles})
    own_rows, own_columns = (dict(zip(spans, _shares(spans))) for spans in (rows, columns))
    for tile, labels in zip(tiles, label_maps):
        top, bottom = own_rows[tile.top, tile.bottom]
        left, right = own_columns[tile.left, tile.right]
        joined[top:bottom, left:right] = labels[top - tile.top:bottom - tile.top,
                                                left - tile.left:right - tile.left]
    return joined


def _shares(spans):
    """Begin and end of what each of the overlapping spans contributes."""
    middles = [(end + begin) // 2 for (_, end), (begin, _) in zip(spans, spans[1:])]
    return list(zip([spans[0][0], *middles], [*middles, spans[-1][1]]))
