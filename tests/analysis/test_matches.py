"""AP and mIoU for any weighting of the images, against pycocotools on repeated images."""
import contextlib
import io

import numpy as np
import pytest
from example_results import CLASSES, annotations, detections, write_json
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from convnext_dense.analysis.bootstrap import resample_counts
from convnext_dense.analysis.matches import DetectionMatches, SegmentationCounts
from convnext_dense.errors import InputError

TRUTH = annotations()
FOUND = detections(TRUTH)


@pytest.fixture(scope='module')
def matches(tmp_path_factory):
    folder = tmp_path_factory.mktemp('coco')
    return DetectionMatches(write_json(folder / 'truth.json', TRUTH),
                            write_json(folder / 'found.json', FOUND))


def pycocotools_stats(truth, found):
    """The twelve figures and AP of each class, in percent."""
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = truth
        ground.createIndex()
        evaluation = COCOeval(ground, ground.loadRes(found), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval['precision'][:, :, :, 0, -1]
    return 100 * evaluation.stats, 100 * precision.mean(axis=(0, 1))


def repeated(counts):
    """Truth and detections in which each image stands as often as it was drawn."""
    images, objects, boxes = [], [], []
    for image, count in zip(sorted(image['id'] for image in TRUTH['images']), counts):
        for _ in range(count):
            number = len(images) + 1
            images.append(dict(id=number, width=200, height=200))
            objects += [dict(item, image_id=number) for item in TRUTH['annotations']
                        if item['image_id'] == image]
            boxes += [dict(item, image_id=number) for item in FOUND
                      if item['image_id'] == image]
    objects = [dict(item, id=index + 1) for index, item in enumerate(objects)]
    return dict(TRUTH, images=images, annotations=objects), boxes


def test_ap_by_class_and_size_is_that_of_pycocotools(matches):
    stats, by_class = pycocotools_stats(TRUTH, FOUND)
    assert matches.figure()[0] == pytest.approx(stats[0], abs=1e-9)
    assert list(matches.by_size().values()) == pytest.approx(stats[3:6], abs=1e-9)
    assert matches.by_class() == pytest.approx(dict(zip(CLASSES, by_class)), abs=1e-9)


def test_weighted_ap_is_that_of_pycocotools_on_repeated_images(matches):
    counts = resample_counts(len(matches.images), resamples=6)
    expected = [pycocotools_stats(*repeated(count))[0][0] for count in counts]
    assert matches.figure(counts) == pytest.approx(expected, abs=1e-9)


def test_large_arrays_are_taken_in_chunks(matches, monkeypatch):
    counts = resample_counts(len(matches.images), resamples=20)
    whole = matches.figure(counts)
    monkeypatch.setattr('convnext_dense.analysis.matches.CHUNK', 1000)
    np.testing.assert_array_equal(matches.figure(counts), whole)


def test_no_detections_have_no_ap(tmp_path):
    nothing = DetectionMatches(write_json(tmp_path / 'truth.json', TRUTH),
                               write_json(tmp_path / 'found.json', []))
    assert nothing.figure()[0] == 0


def test_a_class_without_objects_does_not_count(tmp_path, matches):
    truth = dict(TRUTH, categories=TRUTH['categories'] + [dict(id=9, name='none')])
    more = DetectionMatches(write_json(tmp_path / 'truth.json', truth),
                            write_json(tmp_path / 'found.json', FOUND))
    assert more.by_class()['none'] is None
    assert more.figure()[0] == matches.figure()[0]


def test_only_the_evaluated_images_and_classes_count(tmp_path):
    images = list(range(1, 31))
    part = DetectionMatches(
        write_json(tmp_path / 'truth.json', TRUTH), write_json(tmp_path / 'found.json', FOUND),
        image_ids=images, categories=TRUTH['categories'][:2])
    truth = dict(images=TRUTH['images'][:30], categories=TRUTH['categories'][:2], annotations=[
        item for item in TRUTH['annotations']
        if item['image_id'] <= 30 and item['category_id'] <= 2])
    found = [item for item in FOUND if item['image_id'] <= 30 and item['category_id'] <= 2]
    assert part.figure()[0] == pytest.approx(pycocotools_stats(truth, found)[0][0], abs=1e-9)
    assert part.classes == CLASSES[:2]


@pytest.mark.parametrize('found, message', [
    ([dict(image_id=999, category_id=1, bbox=[0, 0, 1, 1], score=1.)], 'such as id 999'),
    ({}, 'a list of detections')])
def test_detections_that_do_not_fit_are_input_errors(tmp_path, found, message):
    with pytest.raises(InputError, match=message):
        DetectionMatches(write_json(tmp_path / 'truth.json', TRUTH),
                         write_json(tmp_path / 'found.json', found))


def test_missing_and_broken_files_are_input_errors(tmp_path):
    with pytest.raises(InputError, match='no such file'):
        DetectionMatches(tmp_path / 'none.json', tmp_path / 'none.json')
    (tmp_path / 'broken.json').write_text('{')
    with pytest.raises(InputError, match='not JSON'):
        DetectionMatches(tmp_path / 'broken.json', tmp_path / 'broken.json')


def test_miou_sums_pixels_over_the_images_before_dividing():
    result = SegmentationCounts(['a', 'b'], ['wall', 'floor', 'never'],
                                [[5, 0, 0], [1, 3, 0]], [[10, 2, 0], [10, 4, 0]])
    assert result.figure()[0] == pytest.approx(100 * (6 / 20 + 3 / 6) / 2)
    assert result.by_class() == dict(wall=30., floor=50., never=None)
    assert result.figure(np.array([[2, 0], [0, 1]])) == pytest.approx([25., 42.5])
