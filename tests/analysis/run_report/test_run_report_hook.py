"""The report that a training writes by itself; the training stays what it is without it."""
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from convnext_dense import InputError
from convnext_dense.analysis.run_report.gathering import gather
from convnext_dense.checkpoints import read_checkpoint
from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.runtime import Runner

sys.path.append(str(Path(__file__).parents[2] / 'runtime'))
from tiny import detector_config, segmenter_config, toy_config, with_validation  # noqa: E402

HOOK = dict(type='convnext_dense.RunReportHook', seconds=0.)


@HOOKS.register_module()
class StopAt(Hook):
    """SIGTERM after a step."""

    def __init__(self, step):
        self.step = step

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@HOOKS.register_module()
class SpoilLoss(Hook):
    """The weights become NaN before a step."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 3:
            with torch.no_grad():
                runner.model.conv.weight.fill_(float('nan'))


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(root, train=4, val=4, size=64)
    return root


def config_of(make, data, work_dir, stop_at=None, **settings):
    cfg = make(data, work_dir, workers=0)
    cfg.default_hooks.report = dict(HOOK, **settings)
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=2, log_metric_by_epoch=False)
    cfg.optim_wrapper['constructor'] = 'convnext_dense.LearningRateDecayOptimizerConstructor'
    cfg.optim_wrapper['paramwise_cfg'] = dict(decay_rate=.8, decay_type='layer_wise')
    cfg.experiment_name = f'{work_dir.name}_{os.urandom(4).hex()}'
    if stop_at:
        cfg.custom_hooks.append(dict(type='StopAt', step=stop_at))
    return cfg


def trained(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def warnings_of(work_dir):
    return [line for path in work_dir.glob('*/*.log') for line in path.read_text().splitlines()
            if 'is not up to date' in line]


@pytest.fixture(scope='module')
def segmenter(shapes, tmp_path_factory):
    """Runner and work directory of a segmenter trained for 12 steps, validated at 6 and 12."""
    work_dir = tmp_path_factory.mktemp('segmenter')
    return trained(config_of(segmenter_config, shapes, work_dir)), work_dir


def test_a_segmenter_has_curves_rates_samples_and_worst_images(segmenter, shapes):
    runner, work_dir = segmenter
    report = gather(work_dir)
    assert report.state == 'finished' and report.step == 12
    assert [step for step, _ in report.points['loss']] == [2, 4, 6, 8, 10, 12]
    assert [step for step, _ in report.points['mIoU']] == [6, 12]
    assert len(report.rates) > 3  # layer by layer
    assert all([step for step, _ in values] == [2, 4, 6, 8, 10, 12]
               for values in report.rates.values())
    # the rates that the steps had, as mmengine logs that of the first group
    assert next(iter(report.rates.values())) == report.points['lr']
    assert [line['step'] for line in report.validations] == [6, 12]
    images = sorted(str(path) for path in (shapes / 'images/validation').iterdir())
    for line in report.validations:
        assert [sample['name'] for sample in line['samples']] == images
        assert line['scored'] == 4 and 0 < len(line['worst']) <= 4
        assert all(entry['text'].endswith('% of the pixels wrong') for entry in line['worst'])
    facts = report.facts
    assert (facts['batch'], facts['max_iters'], facts['seed']) == (2, 12, runner.seed)
    assert facts['max_epochs'] is None
    assert (facts['training_images'], facts['validation_images']) == (4, 4)
    page = (work_dir / 'report.html').read_text()
    assert page.count('<img alt="step 12"') == page.count('<img alt="annotated"') == 4
    assert not warnings_of(work_dir)


def test_a_detector_has_boxes_masks_and_named_mistakes(shapes, tmp_path):
    trained(config_of(detector_config, shapes, tmp_path, score=0.))
    report = gather(tmp_path)
    assert [line['step'] for line in report.validations] == [2, 4]  # epochs of two steps
    assert [step for step, _ in report.points['coco/bbox_mAP']] == [2, 4]
    last = report.validations[-1]
    assert len(last['samples']) == 4 and all(sample['truth'] for sample in last['samples'])
    assert last['worst'] and 'missed' in last['worst'][0]['text']
    assert report.facts['max_epochs'] == 2
    assert not warnings_of(tmp_path)


def test_the_report_changes_nothing_of_the_training(segmenter, shapes, tmp_path):
    runner, work_dir = segmenter
    plain = trained(config_of(segmenter_config, shapes, tmp_path, enabled=False))
    assert not (tmp_path / 'report.html').exists() and not (tmp_path / 'report').exists()
    for (name, ours), theirs in zip(runner.model.state_dict().items(),
                                    plain.model.state_dict().values()):
        assert torch.equal(ours, theirs), name
    ours, theirs = (read_checkpoint(folder / 'iter_12.pth')['convnext_dense']['random'][0]
                    for folder in (work_dir, tmp_path))
    assert torch.equal(ours['torch'], theirs['torch']) and ours['python'] == theirs['python']
    assert torch.equal(ours['numpy'][1], theirs['numpy'][1])


def test_a_resumed_run_has_the_report_of_one_that_was_never_stopped(segmenter, shapes, tmp_path):
    _, whole_dir = segmenter
    with pytest.raises(SystemExit):
        trained(config_of(segmenter_config, shapes, tmp_path, stop_at=8))
    stopped = gather(tmp_path)
    assert (stopped.state, stopped.step) == ('stopped', 8)
    assert 'data-reload="0"' in (tmp_path / 'report.html').read_text()
    cfg = config_of(segmenter_config, shapes, tmp_path)
    cfg.resume = True
    trained(cfg)
    whole, resumed = gather(whole_dir), gather(tmp_path)
    assert resumed.state == 'finished' and len(resumed.starts) == 2
    assert resumed.starts[1]['step'] == 8 and resumed.starts[1]['resumed'] == 'iter_8.pth'
    untimed = {name: points for name, points in whole.points.items() if 'time' not in name}
    assert {name: resumed.points[name] for name in untimed} == untimed
    assert resumed.rates == whole.rates
    assert [line['step'] for line in resumed.validations] == [6, 12]
    for ours, theirs in zip(resumed.validations, whole.validations):
        assert drawings(tmp_path, ours) == drawings(whole_dir, theirs)


def drawings(work_dir, line):
    """Names, texts and pixels of a validation, without the names of the files."""
    return [(entry['name'], entry.get('text'), *(
        (work_dir / entry[key]).read_bytes() for key in ('file', 'truth') if entry.get(key)))
        for entry in line['samples']]


def toy(work_dir, **settings):
    cfg = with_validation(toy_config(work_dir, log_level='INFO', **settings), 1)
    cfg.default_hooks.report = dict(HOOK)
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=1)
    cfg.experiment_name = os.urandom(4).hex()
    return cfg


def test_any_model_has_curves(tmp_path):
    trained(toy(tmp_path))
    report = gather(tmp_path)
    assert report.state == 'finished' and len(report.points['score']) == 3
    assert 'best score' in (tmp_path / 'report.html').read_text() and not warnings_of(tmp_path)


def test_the_log_says_where_the_report_is(tmp_path):
    trained(toy(tmp_path))
    log, = tmp_path.glob('*/*.log')
    assert f'report: {tmp_path / "report.html"}' in log.read_text()


def test_a_failed_run_says_why_and_what_was_skipped(tmp_path):
    cfg = toy(tmp_path, not_finite=dict(skip=1), custom_hooks=[dict(type='SpoilLoss')])
    with pytest.raises(InputError, match='NaN or infinite'):
        trained(cfg)
    report = gather(tmp_path)
    assert report.state == 'failed' and 'NaN or infinite, first in conv' in report.text
    assert [step for step, _ in report.skipped] == [4, 5]
    assert 'NaN or infinite' in report.skipped[0][1]


@pytest.mark.parametrize('spoil', ['report', 'report.html'])
def test_a_report_that_cannot_be_written_is_one_line(spoil, tmp_path):
    tmp_path.joinpath(spoil).mkdir()
    if spoil == 'report':
        tmp_path.joinpath('report').rmdir()
        tmp_path.joinpath('report').write_text('a file')
    runner = trained(toy(tmp_path))
    assert runner.iter == 18
    line, = warnings_of(tmp_path)
    assert 'cannot be written' in line and 'training goes on' in line


def test_a_validation_alone_writes_no_report(tmp_path):
    cfg = toy(tmp_path)
    Runner.from_cfg(cfg).val()
    assert not (tmp_path / 'report.html').exists()
