"""COCO's figures from accumulated curves: the 12 of the summary, and those of each class."""
from collections.abc import Sequence
from typing import Any

import numpy as np

from convnext_dense.datasets.coco_areas import AREAS
from convnext_dense.evaluation.backends import Curves

# log name: (which array, IoU threshold or None for all, area, position in maxDets)
FIGURES = {
    'mAP': ('precision', None, 'all', 100),
    'mAP_50': ('precision', .5, 'all', -1),
    'mAP_75': ('precision', .75, 'all', -1),
    'mAP_s': ('precision', None, 'small', -1),
    'mAP_m': ('precision', None, 'medium', -1),
    'mAP_l': ('precision', None, 'large', -1),
    'AR@100': ('recall', None, 'all', 0),
    'AR@300': ('recall', None, 'all', 1),
    'AR@1000': ('recall', None, 'all', 2),
    'AR_s@1000': ('recall', None, 'small', -1),
    'AR_m@1000': ('recall', None, 'medium', -1),
    'AR_l@1000': ('recall', None, 'large', -1),
}
CLASS_FIGURES = ('AP', 'AP_50', 'AP_75', 'AP_s', 'AP_m', 'AP_l', 'AR', 'AR_s', 'AR_m', 'AR_l')


def coco_figures(curves: Curves, iou_thresholds: Sequence[float] | np.ndarray,
                 max_dets: Sequence[int]) -> dict[str, float]:
    """The 12 figures of cocoapi's summary, in its order, under mmdet's names.

    The names of the recalls say 100, 300 and 1000 whatever ``max_dets`` is, as mmdet's do. mAP
    counts 100 detections an image, like cocoapi's summary, also where ``max_dets`` goes on to
    1000 (without a limit of 100: the largest).

    Args:
        curves (Curves): of ``iou_thresholds`` and sorted ``max_dets``.

    Returns:
        dict[str, float]: name to figure in [0, 1]; -1 where it is undefined (no annotation of
        that size, or the IoU threshold is not evaluated).
    """
    max_dets = sorted(max_dets)
    figures = {}
    for name, (kind, threshold, area, limit) in FIGURES.items():
        if limit == 100:
            limit = max_dets.index(100) if 100 in max_dets else -1
        elif limit >= len(max_dets):
            figures[name] = -1.
            continue
        figures[name] = _mean(curves, kind, iou_thresholds, threshold, area, limit)
    return figures


def class_figures(curves: Curves,
                  iou_thresholds: Sequence[float] | np.ndarray) -> dict[Any, dict[str, float]]:
    """AP and AR of every category at the largest number of detections.

    Returns:
        dict[int, dict[str, float]]: category id to figures named as in ``CLASS_FIGURES``; NaN
        where the category has no annotation of that size.
    """
    rows = {}
    for number, category_id in enumerate(curves.category_ids):
        row = {}
        for name in CLASS_FIGURES:
            figure, _, rest = name.partition('_')
            kind = 'precision' if figure == 'AP' else 'recall'
            threshold = {'50': .5, '75': .75}.get(rest)
            area = {'s': 'small', 'm': 'medium', 'l': 'large'}.get(rest, 'all')
            value = _mean(curves, kind, iou_thresholds, threshold, area, -1, number)
            row[name] = value if value > -1 else float('nan')
        rows[category_id] = row
    return rows


def _mean(curves, kind, iou_thresholds, threshold, area, limit, category=None):
    values = getattr(curves, kind)[..., list(AREAS).index(area), limit]
    if category is not None:
        values = values[..., category]
    if threshold is not None:
        values = values[np.asarray(iou_thresholds) == threshold]
    values = values[values > -1]
    return float(np.mean(values)) if values.size else -1.
