"""The names of a metric's figures, told from its settings, are those that it gives."""
from fnmatch import fnmatchcase

import numpy as np
import pytest
import test_coco_metric
import test_iou_metric
import test_panoptic_metric
import torch
from mmdet.evaluation import CocoMetric, VOCMetric
from mmseg.evaluation import IoUMetric

from convnext_dense import evaluation
from convnext_dense.evaluation.figure_names import figure_names

case = test_coco_metric.case


def agree(names, figures):
    """Each figure has a name, and each name that is no pattern is a figure."""
    assert all(any(fnmatchcase(figure, name) for name in names) for figure in figures)
    assert {name for name in names if '*' not in name} <= set(figures)
    assert figures and len(set(names)) == len(names)


@pytest.mark.parametrize('kind', [CocoMetric, evaluation.CocoMetric])
@pytest.mark.parametrize('options', [
    {}, {'metric': ['bbox', 'segm'], 'classwise': True}, {'prefix': 'val'},
    {'metric': 'proposal', 'proposal_nums': (1, 10, 100)},
    {'metric': ['bbox', 'proposal'], 'metric_items': ['mAP_50', 'AR@100']}])
def test_coco(kind, options, case):
    agree(figure_names(dict(options, type=kind)), case.run(kind, **options))


def test_fast_recall(case):  # mmdet's own does not work with today's numpy
    options = dict(metric='proposal_fast', proposal_nums=(1, 10, 100))
    figures = case.run(evaluation.CocoMetric, **options)
    agree(figure_names(dict(options, type='CocoMetric')), figures)


@pytest.mark.parametrize('kind', [IoUMetric, evaluation.IoUMetric])
@pytest.mark.parametrize('options', [
    {}, {'iou_metrics': ['mIoU', 'mDice', 'mFscore']}, {'iou_metrics': 'mFscore', 'prefix': 'val'}])
def test_iou(kind, options):
    figures = test_iou_metric.run(kind, test_iou_metric.samples(), **options)
    agree(figure_names(dict(options, type=kind.__name__)), figures)


def test_boundary_iou():
    figures = test_iou_metric.run(evaluation.IoUMetric, test_iou_metric.samples(), boundary=True)
    agree(figure_names(dict(type='convnext_dense.IoUMetric', boundary=True)), figures)


def test_panoptic(tmp_path):
    rng = np.random.default_rng(0)
    truths = [test_panoptic_metric.random_truth(rng) for _ in range(12)]
    predictions = [test_panoptic_metric.noisy_prediction(rng, *truth) for truth in truths]
    figures = test_panoptic_metric.evaluated(
        *test_panoptic_metric.write(tmp_path / 'truth', truths),
        test_panoptic_metric.enumerate_list(predictions), classwise=True)
    agree(figure_names(dict(type='convnext_dense.PanopticMetric', classwise=True)), figures)


@pytest.mark.parametrize('options', [
    {}, {'iou_thrs': [.5, .75], 'prefix': 'voc'}, {'metric': 'recall', 'iou_thrs': [.5, .75]}])
def test_voc(options):
    metric = VOCMetric(**options)
    metric.dataset_meta = dict(classes=('cat', 'dog'))
    boxes, labels = torch.tensor([[1., 1, 9, 9], [20, 20, 40, 30]]), torch.tensor([0, 1])
    none = dict(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    metric.process(None, [dict(
        gt_instances=dict(bboxes=boxes, labels=labels), ignored_instances=none,
        pred_instances=dict(bboxes=boxes, labels=labels, scores=torch.ones(2)))])
    agree(figure_names(dict(options, type='VOCMetric')), metric.evaluate(1))


def test_a_metric_that_only_writes_files_gives_none_and_an_unknown_one_is_not_guessed_at():
    assert figure_names(dict(type='CocoMetric', format_only=True, outfile_prefix='out')) == []
    assert figure_names(dict(type='LVISMetric')) is None
