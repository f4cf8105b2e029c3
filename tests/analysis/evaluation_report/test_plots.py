"""The images of an evaluation have the names of classes as they are."""
import warnings

import cv2
import numpy as np

from convnext_dense.analysis.evaluation_report.plots import confusion, precision_recall
from convnext_dense.evaluation.backends import Curves

NAMES = [r'from $5 to \frac $', '日本', 'tab\tname', '{curly}', '_underscore', '']


def test_names_of_any_kind_are_written_without_a_word(tmp_path):
    categories = [dict(id=number, name=name) for number, name in enumerate(NAMES)]
    shape = (2, 101, len(NAMES), 1, 1)
    curves = Curves(np.full(shape, .5), np.full((2, *shape[2:]), .5), np.full(shape, .5),
                    list(range(len(NAMES))))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        precision_recall(curves, categories, [.5, .75], tmp_path / 'curves.png')
        confusion(np.eye(len(NAMES)), NAMES, NAMES, tmp_path / 'confusion.png')
    assert cv2.imread(str(tmp_path / 'curves.png')).std() > 0
    assert cv2.imread(str(tmp_path / 'confusion.png')).std() > 0
