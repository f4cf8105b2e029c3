"""The demo: its configs, a tiny run from end to end, the table and the exit status."""
import os
from types import SimpleNamespace

import cv2
import pytest
import torch

from convnext_dense.cli import run_command
from convnext_dense.commands import demo
from convnext_dense.datasets import shapes

CONFIGS = [demo.CONFIGS / config for _, config, _ in demo.TASKS]


@pytest.mark.parametrize('config', CONFIGS, ids=lambda path: path.stem)
def test_classes_are_those_of_the_data_set(config):
    from convnext_dense.config import load_config
    classes = tuple(load_config(config).val_dataloader.dataset.metainfo.classes)
    assert classes in (shapes.CLASSES, shapes.SCENE_CLASSES)


def test_demo_trains_evaluates_draws_and_says_what_it_missed(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(demo, 'DATA', dict(train=4, val=2, size=160))
    status = run_command('demo', [
        '--data-root', str(tmp_path / 'shapes'), '--work-dir', str(tmp_path / 'work'),
        '--device', 'cpu', '--cfg-options', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2',
        'train_dataloader.batch_size=2'])
    said = capfd.readouterr().out  # of the processes that train, too
    assert status == 1  # nobody learns this in two steps
    assert 'Not as expected: box AP 0.' in said
    for title, _, _ in demo.TASKS:
        assert f'[2/3] {title}: step 2/2, loss' in said
    assert '0:00 left' in said
    table = said[said.index('box AP'):].splitlines()
    assert table[0].split() == ['box', 'AP', 'mask', 'AP', 'mIoU', 'parameters', 'training']
    assert table[1].startswith('Cascade Mask R-CNN, ConvNeXt')
    assert table[2].startswith('UperNet, ConvNeXt')
    images = sorted((tmp_path / 'work' / 'images').iterdir())
    assert [path.name for path in images] == ['000000.png', '000001.png']
    assert min(cv2.imread(str(images[0])).shape[:2]) > 2 * 160
    for config in CONFIGS:
        assert (tmp_path / 'work' / config.stem / 'console.log').stat().st_size


def test_models_train_one_after_the_other_on_a_gpu_and_on_a_single_core(monkeypatch):
    monkeypatch.setattr(demo, 'train_and_evaluate', lambda *job: (os.getpid(), *job))
    jobs = [('detector', 1), ('segmenter', 2)]
    expected = [(os.getpid(), *job) for job in jobs]
    assert demo.train_all(jobs, 'cuda') == expected
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {0})
    assert demo.train_all(jobs, 'cpu') == expected


def test_table_has_one_row_a_task_and_a_dash_for_a_figure_that_it_has_not():
    results = [
        ('Cascade', [('box AP', 'coco/bbox_mAP', 1, .5)],
         dict(metrics={'coco/bbox_mAP': .61}, parameters=3_100_000, seconds=125)),
        ('UperNet', [('mIoU', 'mIoU', .01, .7)],
         dict(metrics={'mIoU': 81.25}, parameters=900_000, seconds=59)),
    ]
    assert demo.format_table(results).splitlines() == [
        '                   box AP   mIoU  parameters  training',
        'Cascade, ConvNeXt   0.610      -       3.1 M      2:05',
        'UperNet, ConvNeXt       -  0.812       0.9 M      0:59']


def test_demo_refuses_a_folder_with_other_data(tmp_path, capsys):
    (tmp_path / 'mine.jpg').touch()
    assert run_command('demo', ['--data-root', str(tmp_path), '--device', 'cpu']) == 2
    assert 'holds no data set of shapes' in capsys.readouterr().err


def test_a_demo_of_a_few_steps_only_shows_that_everything_runs(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo, 'DATA', dict(train=1, val=1, size=64))
    given = []

    def train_all(jobs, device):
        given.extend(job[-1] for job in jobs)
        return [dict(metrics={key: 0. for _, key, _, _ in metrics}, drawings=[], seconds=1,
                     parameters=1) for _, _, metrics in demo.TASKS]

    monkeypatch.setattr(demo, 'train_all', train_all)
    monkeypatch.setattr(demo, 'write_images', lambda work_dir, drawings: ['000000.png'])
    assert run_command('demo', [
        '--data-root', str(tmp_path / 'shapes'), '--work-dir', str(tmp_path), '--device', 'cpu',
        '--steps', '2', '--cfg-options', 'train_dataloader.batch_size=2']) == 0
    assert given == [{
        'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2,
        'default_hooks.checkpoint.interval': 2, 'train_dataloader.batch_size': 2}] * 2
    assert 'as expected' not in capsys.readouterr().out
    assert run_command('demo', ['--steps', '0', '--device', 'cpu']) == 2
    assert '--steps 0' in capsys.readouterr().err


def test_the_progress_of_a_skipped_step_has_no_loss(capsys):
    hook = demo.progress_hook('UperNet', None)
    runner = SimpleNamespace(iter=0, max_iters=2)
    hook.before_train(runner)
    hook.after_train_iter(runner, 0, outputs={})
    runner.iter = 1
    hook.after_train_iter(runner, 1, outputs=dict(loss=torch.tensor(2.)))
    one, two = capsys.readouterr().out.splitlines()
    assert one.startswith('UperNet: step 1/2, skipped, ')
    assert two.startswith('UperNet: step 2/2, loss 2.00, ')
