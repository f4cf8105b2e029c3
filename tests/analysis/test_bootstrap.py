"""Differences that are real are found, others are not."""
import numpy as np
import pytest
from example_results import annotations, detections, write_json

from convnext_dense.analysis.bootstrap import compare_paired, resample_counts
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
    assert difference.verdict == 'no difference'


def test_five_percent_of_the_boxes_dropped_is_found_worse(match):
    kept = np.random.default_rng(0).random(len(FOUND)) >= .05
    fewer = [box for box, keep in zip(FOUND, kept) if keep]
    difference = compare_paired([match(FOUND)], [match(fewer)])
    assert difference.verdict == 'worse'
    assert difference.low <= difference.difference <= difference.high < 0
    assert compare_paired([match(fewer)], [match(FOUND)]).verdict == 'better'


def test_another_draw_of_the_same_quality_shows_no_difference(match):
    difference = compare_paired([match(detections(TRUTH, seed=3))],
                                [match(detections(TRUTH, seed=4))])
    assert difference.verdict == 'no difference'
    assert difference.low < difference.difference < difference.high


def test_pairing_finds_what_the_spread_of_the_images_hides():
    first, second = segmentation(0), segmentation(.005)
    difference = compare_paired([first], [second])
    assert difference.verdict == 'better' and difference.metric == 'mIoU'
    unpaired = np.quantile(first.figure(resample_counts(100)), [.025, .975])
    assert unpaired[0] < second.figure()[0] < unpaired[1]


def test_interval_covers_the_truth_as_often_as_it_says():
    """Of 200 data sets without any true difference, 95 % intervals miss 0 in about 5 %."""
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(200):
        union = np.full((50, 1), 100)
        first, second = rng.normal(60, 10, (2, 50, 1))
        difference = compare_paired([SegmentationCounts(range(50), 'a', first, union)],
                                    [SegmentationCounts(range(50), 'a', second, union)],
                                    resamples=300)
        missed += difference.verdict != 'no difference'
    assert 3 <= missed <= 22


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
