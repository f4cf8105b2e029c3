"""Figures as text for the log."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prettytable import PrettyTable

from convnext_dense.datasets.coco_json import Id
from convnext_dense.errors import printable

from .coco_figures import CLASS_FIGURES, FIGURES

if TYPE_CHECKING:
    import numpy as np


def summary_table(figures: dict[str, float], iou_thresholds: Sequence[float] | np.ndarray,
                  max_dets: Sequence[int]) -> str:
    """COCO's summary, one line a figure."""
    max_dets = sorted(max_dets)
    lines = []
    for name, value in figures.items():
        kind, threshold, area, limit = FIGURES[name]
        limit = (100 if 100 in max_dets else max_dets[-1]) if limit == 100 else \
            max_dets[min(limit, len(max_dets) - 1)]
        what = 'Average Precision (AP)' if kind == 'precision' else 'Average Recall    (AR)'
        iou = f'{iou_thresholds[0]:.2f}:{iou_thresholds[-1]:.2f}' if threshold is None \
            else f'{threshold:.2f}'
        lines.append(f'{what} @[ IoU={iou:<9} | area={area:>6} | maxDets={limit:>4} ] = '
                     f'{value:.3f}')
    return '\n'.join(lines)


def class_table(rows: dict[Id, dict[str, float]], categories: list[dict]) -> str:
    """AP and AR by class and size.

    Args:
        rows (dict[int, dict]): :func:`class_figures`.
        categories (list[dict]): in the order of the rows of the table.
    """
    table = PrettyTable(['category', *CLASS_FIGURES], float_format='.3')
    table.align['category'] = 'l'
    for category in categories:
        table.add_row([printable(str(category["name"])), *rows[category['id']].values()])
    return table.get_string()


def percent_table(classes: Sequence[str], by_class: dict[str, np.ndarray]) -> str:
    """Figures of classes in percent.

    Args:
        classes (Sequence[str]): names.
        by_class (dict[str, numpy.ndarray]): name of a figure to (classes,) values in [0, 1].
    """
    table = PrettyTable(['Class', *by_class], float_format='.2')
    table.align['Class'] = 'l'
    for row, name in enumerate(classes):
        table.add_row([printable(str(name)),
                       *(float(values[row]) * 100 for values in by_class.values())])
    return table.get_string()
