"""Average recall of proposals whatever their class, as mmdet's ``proposal_fast`` counts it."""
from collections.abc import Sequence

import numpy as np
from hotcoco import mask as hotcoco_mask


def average_recalls(objects: list[np.ndarray], proposals: list[np.ndarray], numbers: Sequence[int],
                    iou_thresholds: Sequence[float] | np.ndarray) -> list[float]:
    """Share of the objects that the first proposals of their image find, mean over thresholds.

    In each image the pair of the largest overlap is taken, again and again, each object and
    each proposal once. Unlike cocoapi's recall the pairs are the same at every threshold.

    Args:
        objects (list[numpy.ndarray]): an image's objects, (m, 4) as x1, y1, x2, y2.
        proposals (list[numpy.ndarray]): its proposals, (n, 4), the best first.
        numbers (Sequence[int]): numbers of proposals.
        iou_thresholds (Sequence[float]): IoU thresholds.

    Returns:
        list[float]: average recall for each of ``numbers``; NaN without objects.
    """
    ious = [_overlaps(true, found[:max(numbers)])
            for true, found in zip(objects, proposals, strict=True) if len(true)]
    recalls = []
    for number in numbers:
        best = np.concatenate([_pairs(table[:, :number].copy()) for table in ious]) \
            if ious else np.zeros(0)
        recalls.append(float(np.mean(best[:, None] >= np.asarray(iou_thresholds)))
                       if len(best) else float('nan'))
    return recalls


def _overlaps(true, found):
    if not len(found):
        return np.zeros((len(true), 0))
    sides = [np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(float)
             for boxes in (true, found)]
    return hotcoco_mask.iou(sides[0], sides[1], [False] * len(found))


def _pairs(table):
    """Overlap of each object with the proposal that it is paired with, in any order."""
    best = np.zeros(len(table))
    for step in range(min(table.shape)):
        row, column = np.unravel_index(table.argmax(), table.shape)
        best[step] = table[row, column]
        table[row] = table[:, column] = -1
    return best
