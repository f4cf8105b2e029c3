"""A result as the endpoint answers it, and what models are called."""
import numpy as np
import pytest
from pycocotools.mask import decode

from convnext_dense.errors import InputError
from convnext_dense.prediction.results import Instances, Panoptic
from convnext_dense.web.serving import found, short_names, task_of

IMAGE = np.zeros((4, 6, 3), np.uint8)


def test_boxes_come_by_falling_score_and_without_masks():
    boxes = np.float32([[0, 0, 2, 3], [1, 1, 5.5, 4]])
    result = Instances(IMAGE, None, ('cat', 'dog'), None, boxes, np.float32([.25, .5]),
                       np.array([0, 1]))
    first, second = found(result)
    assert (first.name, first.label, first.score, first.box, first.area, first.mask) == (
        'dog', 1, .5, (1, 1, 5.5, 4), 13.5, None)
    assert (second.name, second.box) == ('cat', (0, 0, 2, 3))
    assert task_of(result) == 'instances'


def test_segments_of_a_panoptic_result_are_told_apart():
    segments = np.zeros((4, 6), np.int32)
    segments[:2, :3], segments[:2, 3:], segments[2:, 1:] = 1, 2, 3
    labels = np.uint8([2, 0, 0, 1])[segments]  # 2 is no class: nothing there
    result = Panoptic(IMAGE, None, ('cat', 'grass'), None, labels, segments)
    objects = found(result)
    assert [(one.name, one.area, one.box, one.score) for one in objects] == [
        ('cat', 6, (0, 0, 3, 2), None), ('cat', 6, (3, 0, 6, 2), None),
        ('grass', 10, (1, 2, 6, 4), None)]
    for number, one in enumerate(objects, 1):
        np.testing.assert_array_equal(decode(one.mask.model_dump()), segments == number)
    assert task_of(result) == 'panoptic'


@pytest.mark.parametrize('models, names', [
    (['work_dirs/fruit'], ['fruit']), (['a/convnext', 'b/swin/'], ['convnext', 'swin']),
    (['a/run', 'b/run'], ['a/run', 'b/run']),
    (['convnext/iter_2.pth', 'swin/iter_2.pth'], ['convnext/iter_2.pth', 'swin/iter_2.pth']),
    (['upernet_convnext-t_ade20k', 'x/y'], ['upernet_convnext-t_ade20k', 'y'])])
def test_models_are_called_by_what_tells_them_apart(models, names):
    assert short_names(models) == names


def test_one_model_twice_is_refused():
    with pytest.raises(InputError, match='a/run is given twice'):
        short_names(['a/../a/run/', 'a/run'])
