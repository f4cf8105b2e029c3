"""`train` and `test` from the command line on a few images: what a user types, end to end."""
import json
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseTTAModel

from convnext_dense.cli import main
from convnext_dense.datasets.shapes import write_shapes

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
TASKS = {
    'detector': dict(config='demo/cascade-mask-rcnn_convnext_shapes.py',
                     figure='coco/bbox_mAP', data_set='coco_instance.py', sizes=3),
    'segmenter': dict(config='demo/upernet_convnext_shapes.py', figure='mIoU',
                      data_set='ade20k_512x512.py', sizes=6),
}
TINY = ['model.backbone.arch.depths=[1,1,1,1]', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2',
        'param_scheduler.0.total_steps=4', 'default_hooks.checkpoint.interval=2',
        'default_hooks.logger.interval=1',
        *(f'{name}_dataloader.num_workers=0' for name in ('train', 'val', 'test')),
        *(f'{name}_dataloader.persistent_workers=False' for name in ('train', 'val', 'test')),
        'train_dataloader.batch_size=2']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(root, train=4, val=3, size=96)
    return root


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
    """{task: work directory after two iterations}"""
    folders = {}
    for task, facts in TASKS.items():
        folders[task] = tmp_path_factory.mktemp(task)
        assert main(['train', str(CONFIGS / facts['config']), '--data-root', str(data),
                     '--work-dir', str(folders[task]), '--device', 'cpu',
                     '--cfg-options', *TINY]) == 0
    return folders


def run_test(task, data, trained, tmp_path, *options, overrides=()):
    return main(['test', str(CONFIGS / TASKS[task]['config']), str(trained[task] / 'iter_2.pth'),
                 '--data-root', str(data), '--work-dir', str(tmp_path), '--device', 'cpu',
                 *options, '--cfg-options', *TINY, *overrides])


def logged(work_dir):
    """Every record of the run's log, as mmengine writes it for tools."""
    log, = Path(work_dir).rglob('vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize('task', TASKS)
def test_training_logs_the_base_lr_evaluates_and_leaves_a_checkpoint(task, trained):
    records = logged(trained[task])
    steps = [record for record in records if 'loss' in record]
    assert len(steps) == 2 and all(record['lr'] == record['base_lr'] for record in steps)
    assert any(TASKS[task]['figure'] in record for record in records)
    checkpoint = torch.load(trained[task] / 'iter_2.pth', weights_only=False)
    assert 'backbone.stages.0.0.dwconv.weight' in checkpoint['state_dict']


@pytest.mark.parametrize('task', TASKS)
def test_training_resumes_where_it_stopped(task, data, trained, tmp_path):
    options = [option.replace('max_iters=2', 'max_iters=3') for option in TINY]
    assert main(['train', str(CONFIGS / TASKS[task]['config']), '--data-root', str(data),
                 '--work-dir', str(tmp_path), '--device', 'cpu',
                 '--resume', str(trained[task] / 'iter_2.pth'), '--cfg-options', *options]) == 0
    assert [record['step'] for record in logged(tmp_path) if 'loss' in record] == [3]


@pytest.mark.parametrize('task', TASKS)
def test_testing_repeats_the_figures_of_training(task, data, trained, tmp_path):
    assert run_test(task, data, trained, tmp_path) == 0
    figure = TASKS[task]['figure']
    result, = [json.loads(path.read_text()) for path in tmp_path.glob('*/*.json')
               if figure in path.read_text()]
    expected = [record[figure] for record in logged(trained[task]) if figure in record]
    assert result[figure] == expected[-1]


def test_the_config_that_a_resumed_run_left_tests_as_well(data, trained, tmp_path):
    assert run_test('segmenter', data, trained, tmp_path, overrides=['resume=True']) == 0


def test_predictions_of_a_detector_are_kept_and_drawn(data, trained, tmp_path):
    images = tmp_path / 'images'
    out = tmp_path / 'predictions.pkl'
    assert run_test('detector', data, trained, tmp_path, '--out', str(out),
                    '--show-dir', str(images)) == 0
    predictions = pickle.loads(out.read_bytes())  # made by this very test
    assert len(predictions) == 3 and 'pred_instances' in predictions[0]
    assert len(list(images.iterdir())) == 3


def test_predictions_of_a_segmenter_are_kept_and_drawn(data, trained, tmp_path):
    import cv2
    out, images = tmp_path / 'labels', tmp_path / 'images'
    assert run_test('segmenter', data, trained, tmp_path, '--out', str(out),
                    '--show-dir', str(images)) == 0
    maps = sorted(out.glob('*.png'))
    assert len(maps) == 3
    assert cv2.imread(str(maps[0]), cv2.IMREAD_UNCHANGED).shape == (96, 96)
    assert len(list(images.iterdir())) == 3


@pytest.mark.parametrize('task', TASKS)
def test_test_time_augmentation_merges_all_views(task, data, trained, tmp_path, monkeypatch):
    """With the published scales and ratios and flips, of images an eighth as large."""
    cfg = Config.fromfile(CONFIGS / TASKS[task]['config'])
    published = Config.fromfile(CONFIGS / '_base_/datasets' / TASKS[task]['data_set'])
    cfg.tta_model, cfg.tta_pipeline = published.tta_model, published.tta_pipeline
    for resize in cfg.tta_pipeline[1].transforms[0]:
        resize.scale = tuple(side // 8 for side in resize.scale)
    path = tmp_path / 'augmented.py'
    cfg.dump(path)
    views, test_step = [], BaseTTAModel.test_step

    def counting(self, batch):
        shapes = [tuple(sample.img_shape) for view in batch['data_samples'] for sample in view]
        views.append((len(shapes), len(set(shapes))))
        return test_step(self, batch)

    monkeypatch.setattr(BaseTTAModel, 'test_step', counting)
    out = tmp_path / ('out.pkl' if task == 'detector' else 'out')
    assert main(['test', str(path), str(trained[task] / 'iter_2.pth'), '--data-root', str(data),
                 '--work-dir', str(tmp_path / 'work'), '--device', 'cpu', '--tta',
                 '--out', str(out), '--cfg-options', *TINY]) == 0
    sizes = TASKS[task]['sizes']
    assert views == [(2 * sizes, sizes)] * 3  # each size as it is and flipped
    assert any(TASKS[task]['figure'] in path.read_text()
               for path in (tmp_path / 'work').glob('*/*.json'))
    assert len(pickle.loads(out.read_bytes()) if task == 'detector' else  # made by this very test
               list(out.glob('*.png'))) == 3


@pytest.mark.parametrize('task', TASKS)
def test_bad_input_stops_before_any_work(task, data, tmp_path, capsys):
    config = str(CONFIGS / TASKS[task]['config'])
    work_dir = tmp_path / 'work'
    assert main(['train', config, '--data-root', str(tmp_path / 'missing'), '--device', 'cpu',
                 '--work-dir', str(work_dir)]) == 2
    assert 'missing' in capsys.readouterr().err
    assert not list(work_dir.rglob('*.pth')) and not list(work_dir.rglob('*.log'))
