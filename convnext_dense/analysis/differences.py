"""Is one model better than another, or were the seeds or the images kind to it?

With two seeds or more of both models the interval around the difference of their means adds what
the seeds and what the images give, each a Student's t interval, as the root of the sum of squares
of their half-widths (Zou and Donner, Statistics in Medicine 27, 2008). The degrees of freedom of
the seeds are Welch's and Satterthwaite's (Satterthwaite, Biometrics Bulletin 2, 1946), which widen
it where seeds are few, as no bootstrap of them would. One t for the sum of all would lend the many
images' degrees of freedom to the few seeds. Seeds are what is resampled in Bouthillier et al.,
"Accounting for Variance in Machine Learning Benchmarks" (MLSys 2021).

A verdict has three outcomes, so its error is the wrong direction, and each tail of the interval has
its own probability (Jones and Tukey, Psychological Methods 5, 2000): at ``CONFIDENCE`` two equal
models get "better" in at most 3.5 % of studies and "worse" in as many, and five seeds find a
difference of two standard deviations of the seeds in four studies of five. Where a page compares
several pairs, the tails are divided by their number (Bonferroni), so that this holds for the page.

With one seed of a model nothing is known of its other seeds. Then the interval is the paired
bootstrap's over the images (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 13), and speaks of the two trained files alone.
"""
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from convnext_dense.analysis.bootstrap import (
    RESAMPLES,
    check_same_ground,
    figure_draws,
    figures,
    image_variance,
    resample_counts,
)

CONFIDENCE = .93
MOST_SEEDS = 999  # above, more seeds are no advice
ALL_PAIRS = 4  # with more models each is compared with the first only
ONE_SEED = 'one seed'


@dataclass(frozen=True)
class Difference:
    """How far a model is from another, in points of AP or mIoU (percent).

    Attributes:
        first, second (str): names of the models.
        metric (str): ``AP`` or ``mIoU``.
        difference (float): second minus first, means over their seeds.
        low, high (float): interval of the confidence.
        confidence (float): such as 0.93, of this interval.
        seeds (tuple[int, int]): of the first and of the second.
        images (int): that both were evaluated on.
        seed_variances (tuple[float, float] | None): of one training, in squared points; None
            with one seed.
        image_variance (float): of the difference, in squared points.
    """
    first: str
    second: str
    metric: str
    difference: float
    low: float
    high: float
    confidence: float
    seeds: tuple[int, int]
    images: int
    seed_variances: tuple[float, float] | None
    image_variance: float

    @property
    def verdict(self) -> str:
        """On the models: ``better`` or ``worse`` (the second), ``no difference``, or ``one seed``,
        which allows none."""
        return ONE_SEED if min(self.seeds) < 2 else self.finding

    @property
    def finding(self) -> str:
        """What the interval says; with one seed it says it of the two trained files alone."""
        if self.low <= 0 <= self.high:
            return 'no difference'
        return 'better' if self.low > 0 else 'worse'

    def to_dict(self) -> dict:
        """Plain values for JSON, verdict and finding included."""
        return dict(asdict(self), verdict=self.verdict, finding=self.finding)


def compare_paired(first: list, second: list, names: tuple[str, str] = ('first', 'second'),
                   resamples: int = RESAMPLES, seed: int = 0,
                   confidence: float = CONFIDENCE) -> Difference:
    """Difference of two models on the same images.

    Args:
        first, second (list[DetectionMatches | SegmentationCounts]): a model's results, one for
            each training seed; a model's figure is the mean over its seeds.
        names (tuple[str, str]): the models' names.
        resamples (int): bootstrap resamples of the images.
        seed (int): of the resampling.
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


def compare_all(results: dict[str, list], resamples: int = RESAMPLES, seed: int = 0,
                confidence: float = CONFIDENCE) -> list[Difference]:
    """Every pair of up to ``ALL_PAIRS`` models, else each model against the first.

    Args:
        results (dict[str, list]): results of each seed by the model's name, two models or more.
        resamples, seed (int): as above, the same for all pairs.
        confidence (float): that no pair of equal models gets a wrong verdict.

    Raises:
        InputError: as above.
    """
    names = list(results)
    ground = results[names[0]][0]
    for name, seeds in results.items():
        for result in seeds:
            check_same_ground(names[0], ground, name, result)
    counts = resample_counts(len(ground.images), resamples, seed)
    draws = {name: figure_draws(seeds, counts) for name, seeds in results.items()}
    pairs = list(combinations(names, 2)) if len(names) <= ALL_PAIRS else \
        [(names[0], other) for other in names[1:]]
    each = 1 - (1 - confidence) / len(pairs)
    return [paired_difference(results[a], results[b], (a, b), draws[a], draws[b], each)
            for a, b in pairs]


def paired_difference(first: list, second: list, names: tuple[str, str], first_draws: np.ndarray,
                      second_draws: np.ndarray, confidence: float = CONFIDENCE) -> Difference:
    """The :class:`Difference` of two models from their figures in the same resamples."""
    values, others = figures(first), figures(second)
    difference = float(others.mean() - values.mean())
    seeds, images = (len(first), len(second)), len(first[0].images)
    if min(seeds) < 2:
        draws = second_draws.mean(axis=0) - first_draws.mean(axis=0)
        tail = (1 - confidence) / 2
        low, high = np.nanquantile(draws, [tail, 1 - tail])
        variances, from_images = None, float(np.nanvar(draws))
    else:
        variances = float(values.var(ddof=1)), float(others.var(ddof=1))
        from_images = image_variance(first_draws, second_draws)
        half = half_width(variances, from_images, seeds, images, confidence)
        low, high = difference - half, difference + half
    return Difference(*names, first[0].metric, difference, float(low), float(high), confidence,
                      seeds, images, variances, from_images)


def half_width(seed_variances: tuple[float, float], from_images: float, seeds: tuple[int, int],
               images: int, confidence: float) -> float:
    """Half of the interval's width.

    Args:
        seed_variances (tuple[float, float]): of one training of each model.
        from_images (float): variance of the difference over images.
        seeds (tuple[int, int]): trainings of each model, two or more.
        images (int): that both were evaluated on.
        confidence (float): in (0, 1).
    """
    parts = np.divide(seed_variances, seeds)
    from_seeds = parts.sum()
    freedom = from_seeds**2 / (parts**2 / np.subtract(seeds, 1)).sum() if from_seeds else 1.
    quantiles = stats.t.ppf(.5 + confidence / 2, [freedom, max(images - 1, 1)])
    return float(np.sqrt(quantiles**2 @ [from_seeds, from_images]))


def seeds_needed(item: Difference, wanted: float) -> int | None:
    """The fewest seeds of each model for an interval of at most ``wanted`` points to each side.

    Returns:
        int | None: None where the images alone give a wider one, or ``MOST_SEEDS`` are too few.

    Raises:
        ValueError: the difference is of single seeds, which tell nothing of others.
    """
    variances = item.seed_variances
    if variances is None:
        raise ValueError('one seed tells nothing of others')

    def wide(seeds):
        return half_width(variances, item.image_variance, (seeds, seeds), item.images,
                          item.confidence) > wanted
    if wide(MOST_SEEDS):
        return None
    low, high = 1, MOST_SEEDS  # the width falls as seeds are added
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if wide(middle) else (low, middle)
    return high
