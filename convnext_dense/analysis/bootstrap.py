"""Paired bootstrap: is one model better than another, or were the images kind to it?

Both models are evaluated on the same resamples of the images, so that what makes an image hard
for both cancels (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
"""
from dataclasses import asdict, dataclass

import numpy as np

from convnext_dense.errors import InputError

RESAMPLES = 1000


@dataclass
class Difference:
    """How far a model is from another, in points of AP or mIoU (percent).

    Attributes:
        first, second (str): names of the models.
        metric (str): ``AP`` or ``mIoU``.
        difference (float): second minus first on all images.
        low, high (float): interval of the confidence.
        confidence (float): such as 0.95.
        share_better (float): share of the resamples in which the second is ahead.
    """
    first: str
    second: str
    metric: str
    difference: float
    low: float
    high: float
    confidence: float
    share_better: float

    @property
    def verdict(self):
        """``better`` or ``worse`` (the second model), or ``no difference``."""
        if self.low <= 0 <= self.high:
            return 'no difference'
        return 'better' if self.low > 0 else 'worse'

    def to_dict(self):
        """Plain values for JSON, the verdict included."""
        return dict(asdict(self), verdict=self.verdict)


def resample_counts(images, resamples=RESAMPLES, seed=0):
    """How often each image was drawn, shape (resamples, images)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / images), size=resamples)


def compare_paired(first, second, names=('first', 'second'), resamples=RESAMPLES, seed=0,
                   confidence=.95):
    """Difference of two models on the same images.

    Args:
        first, second (list[DetectionMatches | SegmentationCounts]): a model's results, one for
            each training seed; a model's figure is the mean over its seeds.
        names (tuple[str, str]): the models' names.
        resamples (int): bootstrap resamples of the images.
        seed (int): of the resampling; the same for all models that are compared.
        confidence (float): of the interval, in (0, 1).

    Returns:
        Difference: second minus first.

    Raises:
        InputError: the results are on different images, have different classes or are of
            different kinds.
    """
    for name, result in [*((names[0], result) for result in first),
                         *((names[1], result) for result in second)]:
        check_same_ground(names[0], first[0], name, result)
    counts = resample_counts(len(first[0].images), resamples, seed)
    return paired_difference(first, second, names, figure_draws(first, counts),
                             figure_draws(second, counts), confidence)


def paired_difference(first, second, names, first_draws, second_draws, confidence=.95):
    """The :class:`Difference` of two models from their figures in the same resamples."""
    draws = second_draws - first_draws
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return Difference(*names, first[0].metric, mean_figure(second) - mean_figure(first),
                      float(low), float(high), confidence, float(np.mean(draws > 0)))


def figure_draws(results, counts):
    """A model's figure in each resample, mean over its seeds, in percent."""
    return np.mean([result.figure(counts) for result in results], axis=0)


def mean_figure(results):
    """A model's figure on all images, mean over its seeds, in percent."""
    return float(np.mean([result.figure()[0] for result in results]))


def seed_spread(results):
    """Standard deviation of a model's figure over its seeds, two or more, in percent."""
    return float(np.std([result.figure()[0] for result in results], ddof=1))


def check_same_ground(name, result, other_name, other):
    """Raise an InputError unless two results can be compared."""
    if result.kind != other.kind:
        raise InputError(f'{name} has results of {result.kind}, {other_name} of {other.kind}; '
                         'compare models of one task')
    if result.classes != other.classes:
        only = sorted(set(result.classes) ^ set(other.classes))
        raise InputError(f'{name} has {len(result.classes)} classes, {other_name} '
                         f'{len(other.classes)}; they differ in '
                         f'{", ".join(only[:5]) or "their order"}; evaluate both on one class list')
    if result.images != other.images:
        only = sorted(map(str, set(result.images) ^ set(other.images)))
        raise InputError(f'{name} was evaluated on {len(result.images)} images, {other_name} '
                         f'on {len(other.images)}; {len(only)} are in one result only, such as '
                         f'{only[0] if only else "none: the order differs"}; evaluate both on '
                         'the same images')
