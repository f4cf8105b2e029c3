"""Figures from pixel counts are mmseg's."""
import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric as Reference

from convnext_dense.evaluation.iou_figures import iou_figures


@pytest.mark.parametrize('metrics', [['mIoU'], ['mDice'], ['mFscore'],
                                     ['mIoU', 'mDice', 'mFscore']])
@pytest.mark.parametrize('beta', [1, 2])
def test_figures_of_the_classes_equal_mmseg(metrics, beta):
    confusion = np.random.default_rng(0).integers(0, 50, (6, 6))
    confusion[2], confusion[:, 2] = 0, 0   # nowhere
    confusion[4] = 0                       # predicted only
    areas = [np.diag(confusion).copy(), confusion.sum(0) + confusion.sum(1) - np.diag(confusion),
             confusion.sum(0), confusion.sum(1)]
    expected = Reference.total_area_to_metrics(
        *(torch.from_numpy(area).double() for area in areas), metrics, None, beta)
    overall, by_class = iou_figures(confusion, metrics, beta)
    assert list(expected) == ['aAcc', *by_class]
    assert overall['aAcc'] == pytest.approx(float(expected['aAcc']), abs=1e-15)
    for name, values in by_class.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-6)
    assert np.isnan(by_class[list(by_class)[0]][2])


def test_boundary_iou():
    _, by_class = iou_figures(np.eye(2, dtype=int), boundary=np.array([[3, 0], [4, 0], [5, 0]]))
    assert by_class['BoundaryIoU'][0] == 3 / 6 and np.isnan(by_class['BoundaryIoU'][1])
