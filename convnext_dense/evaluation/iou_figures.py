"""IoU, accuracy, Dice and F-score of classes from pixel counts."""
from collections.abc import Sequence

import numpy as np

CLASS_FIGURES = {'mIoU': ('IoU', 'Acc'), 'mDice': ('Dice', 'Acc'),
                 'mFscore': ('Fscore', 'Precision', 'Recall')}


def iou_figures(confusion: np.ndarray, metrics: Sequence[str] = ('mIoU',), beta: float = 1,
                boundary: np.ndarray | None = None
                ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Figures of a confusion matrix, under mmseg's names.

    Args:
        confusion (numpy.ndarray): (classes, classes) int64 pixels; row the annotated class.
        metrics (Sequence[str]): keys of ``CLASS_FIGURES``.
        beta (float): weight of recall in the F-score.
        boundary (numpy.ndarray, optional): (3, classes) boundary pixels: intersection,
            prediction, label.

    Returns:
        tuple[dict, dict]: figures of all pixels (``aAcc``), and by name the (classes,) figures
        of each class; all in [0, 1], NaN where a class has no pixels to divide by.
    """
    right = np.diag(confusion).astype(float)
    label, prediction = confusion.sum(1).astype(float), confusion.sum(0).astype(float)
    with np.errstate(invalid='ignore', divide='ignore'):
        precision, recall = right / prediction, right / label
        known = {
            'IoU': right / (prediction + label - right),
            'Acc': recall,
            'Dice': 2 * right / (prediction + label),
            'Fscore': (1 + beta ** 2) * precision * recall / (beta ** 2 * precision + recall),
            'Precision': precision,
            'Recall': recall,
        }
        overall = {'aAcc': float(np.divide(right.sum(), label.sum()))}
        by_class = {name: known[name] for metric in metrics for name in CLASS_FIGURES[metric]}
        if boundary is not None:
            both, predicted, annotated = boundary.astype(float)
            by_class['BoundaryIoU'] = both / (predicted + annotated - both)
    return overall, by_class
