"""Cascade Mask R-CNN as one ONNX file: the boxes, scores and masks of the model."""
import json

import cv2
import numpy as np
import pytest

from convnext_dense import Predictor
from convnext_dense.export.checking import differences
from convnext_dense.prediction.exported import CARD


def test_the_card_says_what_was_compared(exported_detector):
    card = json.loads((exported_detector / CARD).read_text())
    assert [spec['name'] for spec in card['outputs']] == [
        'boxes', 'scores', 'labels', 'image', 'masks']
    found = card['comparison']
    assert found['equal'] and found['objects'] > 0 and not found['unmatched']


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('size', [(64, 64), (45, 83), (200, 130)])
def test_objects_equal_the_models(exported_detector, detector, images, runtime, size):  # noqa: F811
    image = cv2.resize(cv2.imread(str(images[0])), size)
    pair = [image, np.ascontiguousarray(image[::-1])]
    expected = Predictor(detector, device='cpu', threshold=0, batch_size=2)(pair)
    exported = Predictor(exported_detector, threshold=0, runtime=runtime, batch_size=2)
    for ours, theirs in zip(exported(pair), expected):
        found = differences(theirs, ours)
        assert found['objects'] and not found['unmatched'], found
        assert found['box_difference'] <= .01 and found['score_difference'] <= 1e-4, found
        assert found['equal_mask_pixels'] > .99
