"""Images of an evaluation: precision-recall curves and confusion matrices."""
import contextlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from convnext_dense.evaluation.backends import Curves
from convnext_dense.fonts import font_of

RECALLS = np.linspace(0, 1, 101)
# classes with a curve and a name of their own; of more, the best and the worst are shown
NAMED = 10
# beside the axes, where it hides no curve
OUTSIDE = {'fontsize': 7, 'title_fontsize': 8, 'loc': 'center left', 'bbox_to_anchor': (1, 0.5),
           'frameon': False}
# classes with a name beside the matrix and numbers in its cells
LABELLED, NUMBERED = 160, 25
# classes with counts in the cells too
COUNTED = 13


def precision_recall(curves: Curves, categories: list[dict],
                     iou_thresholds: Sequence[float] | np.ndarray, path: Path) -> None:
    """Two panels: the mean over the classes at each IoU, and each class at the lowest IoU.

    One class needs the first panel only.

    Args:
        curves (Curves): accumulated; all areas and the last of maxDets are drawn.
        categories (list[dict]): ``id`` and ``name``.
        iou_thresholds (Sequence[float]): of the curves.
        path (Path): image file.
    """
    with _written_as_they_are(str(category['name']) for category in categories):
        _precision_recall(curves, categories, iou_thresholds, path)


def _precision_recall(curves, categories, iou_thresholds, path):
    precision = curves.precision[:, :, :, 0, -1]
    known = np.flatnonzero((precision > -1).all((0, 1)))
    names = {category['id']: category['name'] for category in categories}
    panels = 2 if len(known) > 1 else 1
    figure, axes = _figure(6.5 * panels, 4.6, panels)
    left, *rest = np.atleast_1d(axes)
    for number, threshold in enumerate(iou_thresholds):
        if not len(known):
            break
        mean = precision[number][:, known].mean(1)
        shade = 0.9 * number / max(1, len(iou_thresholds) - 1)
        left.plot(RECALLS, mean, color=colormaps['viridis'](shade),
                  label=f'{threshold:.2f}: {mean.mean():.3f}')
    left.set_title(f'mean of {len(known)} classes' if len(known) != 1 else
                   names[curves.category_ids[known[0]]])
    if len(known):
        left.legend(title='IoU: AP', **OUTSIDE)
    for right in rest:
        _curves_of_classes(right, precision, known, curves.category_ids, names, iou_thresholds)
    for panel in (left, *rest):
        panel.set(xlabel='recall', ylabel='precision', xlim=(0, 1), ylim=(0, 1.02))
        panel.grid(color='0.9')
        panel.spines[['top', 'right']].set_visible(False)
    figure.savefig(path)


def _curves_of_classes(right, precision, known, category_ids, names, iou_thresholds):
    ap = precision[0][:, known].mean(0)
    order = known[np.argsort(-ap, kind='stable')]
    if len(order) <= NAMED:
        named = list(order)
        right.set_title(f'classes at IoU {iou_thresholds[0]:.2f}')
    else:
        named = [*order[:NAMED // 2], *order[-(NAMED // 2):]]
        right.set_title(f'best and worst {NAMED // 2} classes at IoU {iou_thresholds[0]:.2f}')
        right.plot(RECALLS, precision[0][:, order[NAMED // 2:-(NAMED // 2)]], color='0.85', lw=0.7,
                   zorder=0)
    for color, number in enumerate(named):
        values = precision[0][:, number]
        right.plot(RECALLS, values, color=f'C{color}',
                   label=f'{names[category_ids[number]]}: {values.mean():.3f}')
    right.legend(title='class: AP', **OUTSIDE)


def confusion(matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], path: Path) -> None:
    """A confusion matrix, coloured by the share of a row's sum; few classes with their counts.

    Args:
        matrix (numpy.ndarray): (n, n) counts; row true, column predicted.
        rows, columns (Sequence[str]): n names each.
        path (Path): image file.
    """
    with _written_as_they_are([*rows, *columns]):
        _confusion(matrix, rows, columns, path)


def _confusion(matrix, rows, columns, path):
    sums = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, sums, out=np.zeros(matrix.shape), where=sums > 0)
    classes = len(rows)
    labelled = classes <= LABELLED
    side = min(28, max(4.5, 0.19 * classes + 2.5)) if labelled else 12
    if classes <= COUNTED:
        side = 2.5 + 0.55 * classes
    figure, axes = _figure(side + 1, side, 1)
    image = axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label='share of the row', shrink=0.6)
    axes.set(xlabel='predicted', ylabel='true')
    axes.spines[:].set_visible(False)
    if labelled:
        size = 8 if classes <= 30 else 7
        axes.set_xticks(range(classes), columns, rotation=90, fontsize=size)
        axes.set_yticks(range(classes), rows, fontsize=size)
    if classes <= NUMBERED:
        for (row, column), share in np.ndenumerate(shares):
            if share < 0.005:
                continue
            text = f'{share:.2f}'.lstrip('0')
            if classes <= COUNTED:
                text += '\n' + _short(matrix[row, column])
            axes.text(column, row, text, ha='center', va='center',
                      fontsize=7 if classes <= COUNTED else 5,
                      color='white' if share > 0.6 else 'black')
    figure.savefig(path)


def _short(count):
    """A count in four characters or so: 950, 12k, 3.4M."""
    for unit, factor in (('G', 1e9), ('M', 1e6), ('k', 1e3)):
        if count >= 10 * factor or (count >= factor and unit != 'k'):
            return f'{count / factor:.3g}{unit}'
    return str(count)


def _figure(width, height, columns):
    # no pyplot: it would keep figures and choose a window system
    figure = Figure(figsize=(width, height), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns)


@contextlib.contextmanager
def _written_as_they_are(names: Iterable[str]) -> Iterator[None]:
    """Names of classes are no formulas, and have the font that their script needs."""
    families = dict.fromkeys(('DejaVu Sans', font_of(''.join(names)).family))
    with rc_context({'font.family': list(families), 'text.parse_math': False}), \
            warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph .* missing from font')
        yield
