"""The images of a validation that went worst, judged one by one while it runs."""
from bisect import insort
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from convnext_dense.analysis.evaluation_report.detection import named_errors
from convnext_dense.analysis.evaluation_report.detection_errors import SCORE, ImageErrors
from convnext_dense.analysis.run_report.drawing import boxes_of, label_map, true_label_map


class Mistakes(NamedTuple):
    """What is wrong in an image.

    Attributes:
        cost (float): larger is worse.
        text (str): in words.
        errors (list[dict]): of a detector, as in ``detection.json``.
        counts (dict[str, int]): of the errors, by their name.
    """
    cost: float
    text: str
    errors: list
    counts: dict


def judge(sample: Any, names: Sequence[str], ignore_index: int = 255) -> Mistakes | None:
    """What is wrong in the prediction of an image.

    Objects cost 1 where they were missed, and their score where they are wrong; a label map costs
    the share of its wrong pixels.

    Args:
        sample: mmdet's or mmseg's data sample, annotations in the size of the image's file.
        names (Sequence[str]): of the classes.
        ignore_index (int): label of pixels that do not count.

    Returns:
        Mistakes | None: None where nothing is wrong, or the annotations were not loaded.
    """
    if 'gt_sem_seg' in sample and ('pred_sem_seg' in sample or 'pred_panoptic_seg' in sample):
        return _wrong_pixels(label_map(sample), true_label_map(sample), ignore_index)
    if 'gt_instances' in sample and 'pred_instances' in sample:
        return _wrong_objects(sample, names)
    return None


def _wrong_pixels(found, truth, ignore_index):
    if found.shape != truth.shape:
        return None
    counted = truth != ignore_index
    wrong, total = np.count_nonzero((found != truth) & counted), np.count_nonzero(counted)
    if not wrong:
        return None
    return Mistakes(wrong / total, f'{100 * wrong / total:.1f} % of the pixels wrong', [], {})


def _wrong_objects(sample, names):
    found, truth = sample.pred_instances, sample.gt_instances
    found = found[found.scores >= SCORE]
    crowds = sample.get('ignored_instances')
    crowds = crowds if crowds is not None and len(crowds) else truth[:0]
    errors = ImageErrors(
        _sides(found), found.labels.cpu().numpy(), found.scores.float().cpu().numpy(),
        np.concatenate([_sides(truth), _sides(crowds)]),
        np.concatenate([truth.labels.cpu().numpy(), crowds.labels.cpu().numpy()]),
        np.arange(len(truth) + len(crowds)) >= len(truth))
    if not errors.errors:
        return None
    text = ', '.join(f'{count} {name}' for name, count in errors.counts.items())
    return Mistakes(errors.cost, text, named_errors(errors, names), errors.counts)


def _sides(instances):
    """Boxes as left, top, width, height: float64, (N, 4)."""
    boxes = boxes_of(instances).astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


class Worst:
    """The worst few of the images seen so far.

    Args:
        most (int): that are kept.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.seen = 0
        self._kept: list[tuple[float, str, str, Any]] = []

    def add(self, name: str, mistakes: Mistakes | None, draw: Callable[[], Any]) -> None:
        """Look at an image.

        Args:
            name (str): of the image, each once.
            mistakes (Mistakes | None): of :func:`judge`.
            draw (Callable): gives the drawing, called only for an image that is kept.
        """
        self.seen += 1
        if mistakes is None or any(name == other for _, other, *_ in self._kept):
            return
        place = -mistakes.cost, name
        if len(self._kept) < self.most or self._kept and place < self._kept[-1][:2]:
            insort(self._kept, (*place, mistakes.text, draw()), key=lambda kept: kept[:2])
            del self._kept[self.most:]

    def found(self) -> list[tuple[str, str, Any]]:
        """Name, what is wrong and drawing of each, the worst first."""
        return [(name, text, drawing) for _, name, text, drawing in self._kept]
