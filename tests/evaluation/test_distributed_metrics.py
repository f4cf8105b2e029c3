"""Any number of processes gives the same results, to the last bit of the counts."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name('evaluate_worker.py')
FILES = ('detection.json', 'detections.bbox.json', 'detections.segm.json', 'segmentation.json')


def evaluate(world, folder):
    folder.mkdir()
    processes = [subprocess.Popen([sys.executable, WORKER, str(rank), str(world)], cwd=folder,
                                  env=dict(os.environ, OMP_NUM_THREADS='1'),
                                  stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
                 for rank in range(world)]
    for process in processes:
        errors = process.communicate(timeout=120)[1]
        assert process.returncode == 0, errors
    logs = [json.loads((folder / f'log{rank}.json').read_text()) for rank in range(world)]
    return logs, {name: (folder / name).read_text() for name in FILES}


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
    return evaluate(1, tmp_path_factory.mktemp('worlds') / 'one')


def test_one_process(alone):
    (log,), files = alone
    coco, iou, panoptic, *again, error = log
    assert again == [coco, iou, panoptic]
    assert coco['coco/bbox_mAP'] > 0 and coco['coco/segm_mAP'] > 0 and iou['mIoU'] > 0
    assert panoptic['coco_panoptic/PQ'] > 0
    assert len(json.loads(files['segmentation.json'])['images']) == 7
    assert error.startswith('IoUMetric: no image was evaluated')


@pytest.mark.parametrize('world', [pytest.param(2, marks=pytest.mark.slow), 3])
def test_several_processes_with_uneven_shares_give_the_same(alone, tmp_path, world):
    logs, files = evaluate(world, tmp_path / 'many')
    (expected,), expected_files = alone
    assert logs == [expected] * world
    for name in FILES:
        assert files[name] == expected_files[name], name
