"""Detectors are trained, and the 12 figures of what they find equal pycocotools'."""
import json
import os
from pathlib import Path

import numpy as np
import pytest
from reference_coco import reference_stats

from convnext_dense.cli import main
from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.evaluation.backends import BACKENDS, load_ground_truth
from convnext_dense.evaluation.coco_figures import coco_figures
from convnext_dense.evaluation.coco_metric import IOU_THRESHOLDS
from convnext_dense.evaluation.detections import Detections

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
LIMITS = [100, 300, 1000]


def train(config, data_root, folder, steps, *options):
    """Train for some steps and evaluate; the summary and the folder of the report."""
    report = folder / 'report'
    assert main(['train', str(CONFIGS / config), '--data-root', str(data_root), '--work-dir',
                 str(folder), '--device', 'cpu', '--cfg-options',
                 f'train_cfg.max_iters={steps}', f'train_cfg.val_interval={steps}',
                 f'param_scheduler.0.total_steps={steps}', 'val_evaluator.report=True',
                 f'val_evaluator.report_dir={report}', *options]) == 0
    return json.loads((report / 'detection.json').read_text()), report


def check(summary, report):
    """All detections of the report, evaluated by each backend and by pycocotools itself."""
    dataset = json.loads(Path(summary['annotations']).read_text())
    truths = {backend: load_ground_truth(backend, dataset) for backend in BACKENDS}
    for kind in ('bbox', 'segm'):
        evaluation = summary['evaluations'][kind]
        records = json.loads((report / evaluation['detections']).read_text())
        columns = Detections(
            *(np.array([record[key] for record in records])
              for key in ('image_id', 'category_id', 'bbox', 'score')),
            masks=[record['segmentation'] for record in records] if kind == 'segm' else None)
        expected = reference_stats(dataset, columns, kind, LIMITS)
        assert expected[0] > 0.001 and expected[6] > 0.01
        np.testing.assert_allclose(list(evaluation['figures'].values()), expected, rtol=0,
                                   atol=1e-12)
        for truth in truths.values():
            curves = truth.evaluate(columns, kind, list(truth.images), summary_ids(summary),
                                    IOU_THRESHOLDS, LIMITS)
            np.testing.assert_allclose(
                list(coco_figures(curves, IOU_THRESHOLDS, LIMITS).values()), expected, rtol=0,
                atol=1e-12)


def summary_ids(summary):
    return sorted(category['id'] for category in summary['categories'])


@pytest.mark.slow
def test_on_the_embedded_data_set(tmp_path):
    """Shapes: 200 steps of a smaller demo model."""
    write_shapes(tmp_path / 'shapes', train=40, val=12, size=96)
    check(*train('demo/cascade-mask-rcnn_convnext_shapes.py', tmp_path / 'shapes', tmp_path, 200,
                 'model.backbone.arch.depths=[1,1,1,1]', 'train_dataloader.batch_size=2'))


@pytest.mark.slow
@pytest.mark.skipif('CONVNEXT_DENSE_PENNFUDAN' not in os.environ,
                    reason='CONVNEXT_DENSE_PENNFUDAN does not name the Penn-Fudan folder')
def test_on_penn_fudan(tmp_path):
    """Photographs: 100 steps of the example config."""
    check(*train('examples/cascade-mask-rcnn_convnextv2-atto_pennfudan.py',
                 os.environ['CONVNEXT_DENSE_PENNFUDAN'], tmp_path, 100))
