"""Loss, learning rate and figures of a training over its steps, as one image."""
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from convnext_dense.analysis.palette import COLOURS, GRID
from convnext_dense.analysis.scalars import read_scalars
from convnext_dense.registry import FUNCTIONS

__all__ = ['write_training_curves']
#: figures that are drawn where a validation has them; of others the first few
FIGURES = ('bbox_mAP', 'bbox_mAP_50', 'segm_mAP', 'segm_mAP_50', 'mIoU', 'mAcc', 'aAcc')
MOST = 4
SECONDS = ('time', 'data_time')  # of a step; a validation logs its own under these names

Points = Mapping[str, Sequence[tuple[float, float]]]


@FUNCTIONS.register_module()
def write_training_curves(work_dir: str | Path) -> Path | None:
    """Draw what mmengine wrote down in all runs of a work directory, a resumed one included.

    Returns:
        The image ``curves.png``; None where nothing was written down.
    """
    points = read_points(work_dir)
    losses = [name for name in points if name == 'loss'] + [
        name for name in points if name != 'loss' and 'loss' in name.rpartition('.')[2]]
    figures = chosen_figures(points)
    panels = [panel for panel in (losses, ['lr'] if 'lr' in points else [], figures) if panel]
    if not panels:
        return None
    figure = Figure(figsize=(5.5 * len(panels), 3.8), layout='constrained')
    FigureCanvasAgg(figure)
    for axes, names in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        _draw(axes, names, points)
    path = Path(work_dir) / 'curves.png'
    figure.savefig(path, dpi=110)
    return path


def read_points(work_dir: str | Path, logs: Collection[str] | None = None) -> Points:
    """``{name: [(step, value), ...]}`` of all runs in a work directory, by step.

    Where a resumed run repeats steps, its values stand for them. A validation that was written
    down by its epoch stands at the last training step before it. Seconds are those of training.

    Args:
        work_dir (str | Path): of the runs.
        logs (Collection[str] | None): names of the runs' log folders; None takes all.
    """
    found: dict[str, dict[float, float]] = defaultdict(dict)
    for run in read_scalars(work_dir, logs):
        trained = 0.
        for row in run:
            trained = max(row.get('iter', 0), trained)
            step = max(row.get('step', 0), trained)
            for name, value in row.items():
                if name not in ('step', 'iter', 'epoch') and (
                        name not in SECONDS or 'iter' in row):
                    found[name][step] = value
    return {name: sorted(values.items()) for name, values in found.items()}


def chosen_figures(points: Points) -> list[str]:
    """The validation's figures to draw."""
    known = [name for wanted in FIGURES for name in points
             if name.rpartition('/')[2] == wanted]
    training = ('lr', 'base_lr', 'data_time', 'time', 'memory', 'grad_norm')
    others = [name for name in points if name not in training and 'loss' not in name
              and '.' not in name and not name.startswith('acc')]
    return (known or others)[:MOST]


def _draw(axes, names, points):
    for name, colour in zip(names, COLOURS * (len(names) // len(COLOURS) + 1)):
        steps, values = zip(*points[name])
        axes.plot(steps, values, color=colour, label=name.rpartition('/')[2],
                  marker='o' if len(steps) < 20 else '', markersize=3, linewidth=1.2)
    axes.set_xlabel('step')
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=GRID)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(fontsize=7, frameon=False)
