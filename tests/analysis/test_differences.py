"""Differences that are real are found, others are not."""
import numpy as np
import pytest
from example_results import annotations, detections, write_json

from convnext_dense.analysis.bootstrap import image_variance, resample_counts
from convnext_dense.analysis.differences import (
    compare_all,
    compare_paired,
    half_width,
    seeds_needed,
)
from convnext_dense.analysis.matches import DetectionMatches, SegmentationCounts
from convnext_dense.errors import InputError

TRUTH = annotations(images=150)
FOUND = detections(TRUTH)


@pytest.fixture
def match(tmp_path):
    def build(found, truth=TRUTH):
        return DetectionMatches(write_json(tmp_path / 'truth.json', truth),
                                write_json(tmp_path / 'found.json', found))
    return build


def segmentation(shift, images=100, seed=0):
    rng = np.random.default_rng(seed)
    union = rng.integers(500, 1000, (images, 4))
    share = np.clip(rng.normal(.6, .1, (images, 4)) + shift, 0, 1)
    return SegmentationCounts(range(images), 'abcd', share * union, union)


def test_identical_results_show_no_difference(match):
    difference = compare_paired([match(FOUND)], [match(FOUND)])
    assert difference.difference == 0
    assert difference.low <= 0 <= difference.high
    assert difference.finding == 'no difference'


def test_five_percent_of_the_boxes_dropped_is_found_worse(match):
    kept = np.random.default_rng(0).random(len(FOUND)) >= .05
    fewer = [box for box, keep in zip(FOUND, kept) if keep]
    difference = compare_paired([match(FOUND)], [match(fewer)])
    assert difference.finding == 'worse'
    assert difference.low <= difference.difference <= difference.high < 0
    assert compare_paired([match(fewer)], [match(FOUND)]).finding == 'better'


def test_another_draw_of_the_same_quality_shows_no_difference(match):
    difference = compare_paired([match(detections(TRUTH, seed=3))],
                                [match(detections(TRUTH, seed=4))])
    assert difference.finding == 'no difference'
    assert difference.low < difference.difference < difference.high


def test_pairing_finds_what_the_spread_of_the_images_hides():
    first, second = segmentation(0), segmentation(.005)
    difference = compare_paired([first], [second])
    assert difference.finding == 'better' and difference.metric == 'mIoU'
    unpaired = np.quantile(first.figure(resample_counts(100)), [.025, .975])
    assert unpaired[0] < second.figure()[0] < unpaired[1]


def study(rng, seeds, difference=0., spread=(2., 2.), images=40, shared=10., own=4.):
    """Results of two models: of each seed, of each image for both models and for one, and of each
    seed on each image, all normal, in points; the second model is better by ``difference``."""
    union = np.full((images, 1), 100)
    hard = rng.normal(0, shared, images)
    models = []
    for mean, deviation, count in zip((50, 50 + difference), spread, seeds):
        on_image = hard + rng.normal(0, own, images)
        models.append([SegmentationCounts(range(images), 'a', (
            mean + rng.normal(0, deviation) + on_image
            + rng.normal(0, own, images))[:, None], union) for _ in range(count)])
    return models


def verdicts(studies, *args, seed=0, **kwargs):
    """How often each verdict was given."""
    rng = np.random.default_rng(seed)
    given = [compare_paired(*study(rng, *args, **kwargs), resamples=100).verdict
             for _ in range(studies)]
    return {verdict: given.count(verdict) / studies
            for verdict in ('better', 'worse', 'no difference')}


def test_one_seed_gives_no_verdict_however_clear_the_difference():
    first, second = study(np.random.default_rng(0), (3, 1), difference=30)
    found = compare_paired(first, second)
    assert (found.verdict, found.finding) == ('one seed', 'better')
    assert found.to_dict()['verdict'] == 'one seed'
    assert compare_paired(first, second * 2).verdict == 'better'


@pytest.mark.parametrize('seeds', [(3, 3), (5, 5)])
def test_equal_models_get_better_in_at_most_one_study_of_twenty(seeds):
    given = verdicts(500, seeds)
    assert given['better'] <= .05 and given['worse'] <= .05, given


def test_images_alone_give_no_verdict():
    """No seed noise, but images that are kind to one of the models."""
    given = verdicts(200, (3, 3), spread=(0., 0.), own=10.)
    assert given['better'] + given['worse'] <= .1, given


def test_five_seeds_find_a_difference_of_two_seed_deviations():
    """The deviation of a seed's figure: its own, and what it owes to single images."""
    given = verdicts(500, (5, 5), difference=2 * 2., images=200, own=.5)
    assert given['better'] >= .8 and given['worse'] == 0, given


@pytest.mark.slow
@pytest.mark.parametrize('seeds, spread', [
    ((5, 5), (2., 2.)), ((3, 3), (2., 2.)), ((3, 3), (.2, 4.)), ((2, 5), (2., 2.))])
def test_equal_models_in_many_studies(seeds, spread):
    """Also where one model's seeds differ twenty times as much, or one model has more seeds."""
    given = verdicts(4000, seeds, spread=spread, seed=1)
    assert given['better'] <= .05 and given['worse'] <= .05, given


@pytest.mark.slow
def test_the_difference_is_found_in_many_studies():
    assert verdicts(4000, (5, 5), difference=4., images=200, own=.5, seed=1)['better'] >= .8


def test_a_bootstrap_of_the_seeds_would_find_differences_that_are_none():
    """Why seeds are not resampled: percentile intervals of three seeds are far too narrow."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        first, second = rng.normal(0, 1, (2, 3))
        draws = [rng.choice(values, (500, 3)).mean(axis=1) for values in (first, second)]
        low, high = np.quantile(draws[1] - draws[0], [.035, .965])
        wrong += not low <= 0 <= high
    assert wrong / 300 > .15


def test_the_share_of_the_images_is_found_apart_from_that_of_the_seeds():
    """Against the variance over 4000 sets of images of models with many seeds."""
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(60):
        models = study(rng, (4, 4), images=40, own=6.)
        counts = resample_counts(40, 200, seed=1)
        shares.append(image_variance(*(np.stack([result.figure(counts) for result in model])
                                       for model in models)))
    assert np.mean(shares) == pytest.approx(2 * 6.**2 / 40, rel=.15)


def test_several_pairs_share_the_error_of_one():
    first, second = study(np.random.default_rng(0), (3, 3))
    third = study(np.random.default_rng(1), (3, 3))[0]
    found = compare_all(dict(a=first, b=second, c=third), resamples=100)
    assert [(item.first, item.second) for item in found] == [('a', 'b'), ('a', 'c'), ('b', 'c')]
    assert [item.confidence for item in found] == pytest.approx([1 - .07 / 3] * 3)
    many = compare_all({name: first for name in 'abcdef'}, resamples=100)
    assert [(item.first, item.second) for item in many] == [('a', name) for name in 'bcdef']


def test_seeds_needed_give_the_width_and_one_fewer_does_not():
    found = compare_paired(*study(np.random.default_rng(0), (5, 5), images=400), resamples=200)

    def width(seeds):
        return half_width(found.seed_variances, found.image_variance, (seeds, seeds), 400,
                          found.confidence)
    needed = seeds_needed(found, 1.5)
    assert width(needed) <= 1.5 < width(needed - 1)
    assert width(5) == pytest.approx((found.high - found.low) / 2)


def test_no_number_of_seeds_makes_up_for_few_images():
    found = compare_paired(*study(np.random.default_rng(0), (5, 5), images=10, own=10.))
    assert seeds_needed(found, .5) is None


def test_a_model_is_the_mean_of_its_seeds():
    low, high, middle = segmentation(-.05), segmentation(.05), segmentation(0)
    difference = compare_paired([low, high], [middle])
    expected = middle.figure()[0] - (low.figure()[0] + high.figure()[0]) / 2
    assert difference.difference == pytest.approx(expected)


def test_the_same_seed_gives_the_same_interval(match):
    results = [match(FOUND)], [match(detections(TRUTH, seed=3))]
    assert compare_paired(*results, seed=1) == compare_paired(*results, seed=1)
    assert compare_paired(*results, seed=1) != compare_paired(*results, seed=2)


def test_results_on_different_images_are_an_input_error(match):
    other = annotations(images=149)
    first, second = match(FOUND), match(detections(other), other)
    with pytest.raises(InputError, match='Swin on 149; 1 are in one result only, such as 150'):
        compare_paired([first], [second], ('ConvNeXt', 'Swin'))


def test_different_classes_are_an_input_error(match):
    renamed = dict(TRUTH, categories=[dict(id=i, name=name) for i, name in
                                      enumerate(('disc', 'ring', 'moon'), 1)])
    with pytest.raises(InputError, match='differ in moon, star'):
        compare_paired([match(FOUND)], [match(FOUND, renamed)])


def test_different_tasks_are_an_input_error(match):
    with pytest.raises(InputError, match='compare models of one task'):
        compare_paired([match(FOUND)], [segmentation(0)])
