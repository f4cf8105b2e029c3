"""What a result owes to its images and to its training seeds.

Every seed of every model is evaluated on the same images: seeds and images are crossed, not nested.
Their shares of the variance are those of the pigeonhole bootstrap (Owen, "The pigeonhole
bootstrap", Annals of Applied Statistics 1, 2007): images are drawn anew for all seeds together,
so what makes an image hard for both models cancels. The share of the seeds is not resampled,
since a bootstrap of S seeds finds only (S - 1) / S of it and draws no wider tails for few; see
:mod:`convnext_dense.analysis.differences`.
"""
import numpy as np

from convnext_dense.analysis.matches import DetectionMatches, SegmentationCounts
from convnext_dense.errors import InputError

RESAMPLES = 1000


def resample_counts(images: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each image was drawn, shape (resamples, images)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / images), size=resamples)


def figure_draws(results: list, counts: np.ndarray) -> np.ndarray:
    """A model's figure in percent, shape (seeds, resamples); NaN where no object was drawn."""
    return np.stack([result.figure(counts) for result in results])


def figures(results: list) -> np.ndarray:
    """A model's figure on all images in percent, shape (seeds, )."""
    return np.array([result.figure()[0] for result in results])


def mean_figure(results: list) -> float:
    """A model's figure on all images, mean over its seeds, in percent."""
    return float(figures(results).mean())


def seed_spread(results: list) -> float:
    """Standard deviation of a model's figure over its seeds, two or more, in percent."""
    return float(figures(results).std(ddof=1))


def image_variance(first: np.ndarray, second: np.ndarray) -> float:
    """Variance that other images would give the difference of two models, whatever the seed.

    The covariance, over resamples of the images, between *different* seeds of a model holds what
    all its seeds owe to the images, and leaves out what one seed owes to one image, which is part
    of the spread of the seeds already.

    Args:
        first, second (ndarray): from :func:`figure_draws` on the same resamples, each with two
            seeds or more.

    Returns:
        float: in squared points, 0 or more.
    """
    draws = np.concatenate([first, second])
    covariance = np.cov(draws[:, ~np.isnan(draws).any(axis=0)])
    seeds = len(first)
    within = [_mean_covariance(block) for block in (covariance[:seeds, :seeds],
                                                    covariance[seeds:, seeds:])]
    return float(max(sum(within) - 2 * covariance[:seeds, seeds:].mean(), 0.))


def _mean_covariance(block: np.ndarray) -> float:
    """Mean of a square block beside its diagonal."""
    return (block.sum() - np.trace(block)) / (len(block) * (len(block) - 1))


def check_same_ground(name: str, result: DetectionMatches | SegmentationCounts, other_name: str,
                      other: DetectionMatches | SegmentationCounts) -> None:
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
