"""A detector's errors are named: missed, false, box, class, mask."""
import numpy as np
import pytest
from evaluation.random_coco import rectangle
from pycocotools import mask as rle

from convnext_dense.analysis.evaluation_report.detection_errors import (
    ImageErrors,
    confusion_matrix,
    image_errors,
)
from convnext_dense.evaluation.backends import load_ground_truth
from convnext_dense.evaluation.detections import Detections

OBJECT = (20, 20, 40, 40)
HALF = (20, 20, 18, 40)       # IoU 0.45
AWAY = (90, 70, 20, 20)
DOG, CAT = 0, 1


def errors(found, true, crowds=None, masks=None, true_masks=None):
    """``found``: (box, label, score), ``true``: (box, label)."""
    return ImageErrors(
        np.array([box for box, _, _ in found], float).reshape(-1, 4),
        np.array([label for _, label, _ in found], int),
        np.array([score for _, _, score in found]),
        np.array([box for box, _ in true], float).reshape(-1, 4),
        np.array([label for _, label in true], int),
        np.array(crowds or [False] * len(true), bool), masks, true_masks)


@pytest.mark.parametrize('found,true,counts,pairs', [
    ([(OBJECT, DOG, .9)], [(OBJECT, DOG)], {}, [(DOG, DOG)]),
    ([], [(OBJECT, DOG)], {'missed': 1}, [(DOG, -1)]),
    ([(AWAY, DOG, .9)], [], {'false': 1}, [(-1, DOG)]),
    ([(AWAY, DOG, .9)], [(OBJECT, DOG)], {'missed': 1, 'false': 1}, [(-1, DOG), (DOG, -1)]),
    ([(OBJECT, CAT, .9)], [(OBJECT, DOG)], {'class': 1}, [(DOG, CAT)]),
    ([(HALF, DOG, .9)], [(OBJECT, DOG)], {'box': 1}, [(-1, DOG), (DOG, -1)]),
    ([(HALF, CAT, .9)], [(OBJECT, DOG)], {'missed': 1, 'false': 1}, [(-1, CAT), (DOG, -1)]),
    # a second detection of an object is false, whichever of the two comes first
    ([(OBJECT, DOG, .9), (OBJECT, DOG, .8)], [(OBJECT, DOG)], {'false': 1},
     [(DOG, DOG), (-1, DOG)]),
    ([(OBJECT, CAT, .9), (OBJECT, DOG, .8)], [(OBJECT, DOG)], {'false': 1},
     [(DOG, DOG), (-1, CAT)]),
    ([], [], {}, [])])
def test_each_error_is_named(found, true, counts, pairs):
    image = errors(found, true)
    assert image.counts == counts
    assert image.pairs == pairs


def test_a_detection_on_a_crowd_of_its_class_is_neither_right_nor_wrong():
    assert errors([(HALF, DOG, .9)], [(OBJECT, DOG)], [True]).counts == {}
    assert errors([(HALF, CAT, .9)], [(OBJECT, DOG)], [True]).counts == {'false': 1}
    assert errors([], [(OBJECT, DOG)], [True]).counts == {}


def test_a_right_box_with_a_wrong_mask_is_a_mask_error():
    whole, part = (rle.encode(rectangle(*box)) for box in (OBJECT, HALF))
    image = errors([(OBJECT, DOG, .9)], [(OBJECT, DOG)], None, [part], [whole])
    assert image.counts == {'mask': 1}
    assert image.errors[0]['iou'] == pytest.approx(.45)
    assert errors([(OBJECT, DOG, .9)], [(OBJECT, DOG)], None, [whole], [whole]).counts == {}


def test_errors_cost_their_scores_and_missed_objects_one():
    image = errors([(AWAY, CAT, .4), (HALF, DOG, .7)], [(OBJECT, DOG), ((5, 5, 9, 9), CAT)])
    assert [error['error'] for error in image.errors] == ['missed', 'box', 'false']
    assert image.cost == pytest.approx(1 + .7 + .4)


def test_images_and_confusions_of_a_data_set():
    dataset = {'images': [{'id': 3, 'height': 120, 'width': 150},
                          {'id': 7, 'height': 120, 'width': 150}],
               'categories': [{'id': 18, 'name': 'dog'}, {'id': 17, 'name': 'cat'}],
               'annotations': [{'id': 1, 'image_id': 7, 'category_id': 18, 'iscrowd': 0,
                                'bbox': list(map(float, OBJECT)), 'area': 1600.}]}
    truth = load_ground_truth('hotcoco', dataset)
    found = Detections(np.array([7, 7, 3]), np.array([17, 17, 18]),
                       np.array([OBJECT, AWAY, AWAY], float), np.array([.9, .2, .5]))
    by_image = image_errors(truth, found, truth.categories)
    assert {image_id: errors.counts for image_id, errors in by_image.items()} == {
        3: {'false': 1}, 7: {'class': 1}}  # a score of 0.2 is not shown
    assert confusion_matrix(by_image.values(), 2).tolist() == [
        [0, 1, 0], [0, 0, 0], [1, 0, 0]]
