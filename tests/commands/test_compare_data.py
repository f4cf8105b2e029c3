"""`compare --data`: backbones trained alike on the user's own data, interrupted and resumed."""
import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / 'datasets/importers'))
from scene import write_masks, write_yolo  # noqa: E402

from convnext_dense.analysis.study import Study, Training  # noqa: E402
from convnext_dense.cli import main  # noqa: E402
from convnext_dense.commands import (  # noqa: E402
    compare,
    compare_data,
    compare_study,
    compare_timing,
    demo,
)
from convnext_dense.config import load_config  # noqa: E402
from convnext_dense.errors import InputError  # noqa: E402

MODELS = ('convnextv2-atto', 'resnet-18')
TINY = ['--seeds', '2', '--iters', '2', '--size', '64', '--batch', '2', '--weights', 'none',
        '--device', 'cpu', '--no-static', '--resamples', '100']


def run_compare(folder, *options, models=MODELS):
    return main(['compare', '--data', str(folder / 'in'), '--models', *models, '--out',
                 str(folder / 'out'), *options])


@pytest.fixture
def one_process(monkeypatch):
    """Trainings run in a thread: a process would import everything again."""
    monkeypatch.setattr(demo, 'training_processes', lambda jobs, device: ThreadPoolExecutor(1))
    monkeypatch.setattr(demo, 'process_count', lambda jobs, device: 1)
    monkeypatch.setattr(compare_data, 'ROUNDS', 1)


@pytest.fixture
def interrupted(monkeypatch):
    """The third training is interrupted after its first step."""
    train, calls = compare_study.train_once, []

    def train_once(*job):
        calls.append(job[0])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*job)
    monkeypatch.setattr(compare_study, 'train_once', train_once)
    return calls


def test_a_study_from_data_to_its_page_interrupted_and_resumed(tmp_path, capfd, one_process,
                                                               interrupted):
    write_masks(tmp_path / 'in')
    options = [*TINY, '--lrs', '1e-3']
    assert run_compare(tmp_path, *options) == 130
    first = capfd.readouterr().out
    assert '4 trainings to come, each of 2 steps (convnextv2-atto ' in first
    assert len(interrupted) == 3, 'what waited must not start'

    assert run_compare(tmp_path, *options) == 0
    said = capfd.readouterr()
    assert said.out.count('done before') == 2
    assert '2 trainings to come' in said.out
    report = (tmp_path / 'out/report.md').read_text()
    assert report in said.out
    fairness, figures = report.split('## Figures')
    assert 'Seeds 1, 2 of each model: images in the same order' in fairness
    assert 'Same heads, augmentation, number of updates and recipe' in fairness
    assert 'Each model starts from nothing.' in fairness
    assert all(f'| {name} | ' in figures for name in MODELS)
    assert 'mIoU, measured' in figures and 'training images/s' in figures
    assert '(2 seeds)' in figures and 'one seed' not in figures
    assert 'Plotly.newPlot' in (tmp_path / 'out/report.html').read_text()

    assert run_compare(tmp_path, *options) == 0
    again = capfd.readouterr().out
    assert again.count('done before') == 4 and 'to come' not in again
    assert run_compare(tmp_path, '--size', '96', *options[:4], *options[6:]) == 2
    assert 'made with --size 64, not 96' in capfd.readouterr().err


def test_a_training_goes_on_from_its_checkpoint(tmp_path, capfd, one_process):
    write_masks(tmp_path / 'in')
    study = make_study(tmp_path, '--iters', '2')
    training = study.counted(study.choose({}))[0]
    config, overrides = study.configs[training.model], compare_study.settings(study, training)
    work_dir = tmp_path / 'out' / training.folder
    demo.train_and_evaluate('half', config, None, work_dir, 'cpu', dict(
        overrides, **{'train_cfg.max_iters': 1, 'default_hooks.checkpoint.interval': 1}), 0)
    compare_study.train_once('whole', config, None, work_dir, 'cpu', overrides)
    said = capfd.readouterr().out
    assert 'whole: step 2/2' in said and 'whole: step 1/2' not in said


def make_study(folder, *options):
    from convnext_dense.planning import model_configs
    models = [compare_data.backbone_named(name) for name in MODELS]
    wanted = dict(data=str(folder / 'in'), format=None, classes=None, colours=None, task=None,
                  size=64, batch=2, iters=2, weights=['none'], device='cpu')
    model_configs.make_shared_project(folder / 'out', wanted, {})
    return Study(model_configs.write_configs(folder / 'out', models, {}), (1e-3, ), (1, 2), 0)


@pytest.mark.slow
@pytest.mark.parametrize('models', [('convnext-atto', 'swin-atto'), ('swin-t', 'resnet-50')])
def test_detectors_of_other_backbones_are_compared(tmp_path, capfd, models):
    write_yolo(tmp_path / 'in')
    assert run_compare(tmp_path, *TINY, '--lrs', '1e-3', '2e-3', models=models) == 0
    report = capfd.readouterr().out
    assert all(f'- {name}: 0.001 reached ' in report for name in models)
    assert 'mask AP, measured' in report and f'{models[1]} against {models[0]}' in report


@pytest.mark.parametrize('options, message', [
    ([], 'name two models or more'),
    (['--models', 'swin-t'], 'name two models or more'),
    (['--models', 'swin-t', 'swin-x'], '--models swin-x: there is no such backbone; did you mean'),
    (['--models', 'swin-t', 'swin-tiny'], 'swin-t swin-tiny: one stands twice'),
    (['--models', 'swin-t', 'resnet-50', '--seeds', '0'], '--seeds 0: give a number from 1 on'),
    (['--models', 'swin-t', 'resnet-50', '--lrs', '0'], '--lrs 0: give different learning rates'),
    (['--models', 'swin-t', 'resnet-50', '--lrs', '1', '1'], '--lrs 1 1: give different'),
    (['--models', 'swin-t', 'resnet-50', '--size', '64x64'], '--size 64x64: with --data give'),
    (['--models', 'swin-t', 'resnet-50', '--iters', '0', '--weights', 'none'], '--iters 0: give'),
    (['--models', 'swin-t', 'resnet-50', '--size', '7', '--weights', 'none'], '--size 7: give'),
    (['--models', 'swin-t', 'resnet-50', '--weights', 'vit=a.pth'], '--weights vit'),
    (['--models', 'swin-t', 'resnet-50', '--demo'], 'or give --demo alone')])
def test_what_cannot_be_is_refused_in_one_line(options, message, tmp_path, capfd):
    write_masks(tmp_path / 'in')
    assert main(['compare', '--data', str(tmp_path / 'in'), '--out', str(tmp_path / 'out'),
                 '--device', 'cpu', *options]) == 2
    error = capfd.readouterr().err
    assert message in error and error.count('\n') == 1
    assert not (tmp_path / 'out/project').exists()


def test_a_folder_without_data_is_named(tmp_path, capfd):
    (tmp_path / 'in').mkdir()
    assert run_compare(tmp_path, *TINY) == 2
    error = capfd.readouterr().err
    assert str(tmp_path / 'in') in error and error.count('\n') == 1
    assert main(['compare', '--data', str(tmp_path / 'none'), '--models', *MODELS,
                 '--weights', 'none']) == 2
    assert f'--data {tmp_path / "none"}: no such file or folder' in capfd.readouterr().err


def test_a_page_that_cannot_be_written_does_not_end_the_trainings(tmp_path, capfd, monkeypatch):
    def full(*args, **kwargs):
        raise InputError('no space')
    monkeypatch.setattr(compare, 'write', full)
    compare.update(argparse.Namespace(), [], [], '64x64')
    assert capfd.readouterr().err == 'the page is as it was: no space\n'


def test_models_need_data(capfd):
    assert main(['compare', 'configs/x.py', '--models', 'swin-t']) == 2
    assert '--models: give --data too' in capfd.readouterr().err


def test_a_config_that_does_not_fit_is_named_before_any_training(tmp_path, capfd, monkeypatch):
    write_masks(tmp_path / 'in')
    study = make_study(tmp_path)
    config = study.configs['resnet-18']
    config.write_text(config.read_text().replace("'in_channels': [64, 128", "'in_channels': [1, 2"))
    with pytest.raises(InputError, match=r'decode_head.in_channels=\[1, 2, .*set it to \[64, 128'):
        compare_data.check_models(study, 'cpu')


def test_the_learning_rate_is_set_where_the_schedule_reads_it(tmp_path):
    one_cycle = tmp_path / 'a.py'
    one_cycle.write_text("param_scheduler = [dict(type='LinearLR'), dict(type='OneCycleLR', "
                         'eta_max=1.)]')
    cosine = tmp_path / 'b.py'
    cosine.write_text("param_scheduler = [dict(type='CosineAnnealingLR')]")
    assert compare_study.lr_key(load_config(one_cycle)) == 'param_scheduler.1.eta_max'
    assert compare_study.lr_key(load_config(cosine)) == 'optim_wrapper.optimizer.lr'


def test_three_learning_rates_around_that_of_new_are_tried(tmp_path):
    config = tmp_path / 'a.py'
    config.write_text('optim_wrapper = dict(optimizer=dict(lr=2e-3))')
    assert compare_data.default_grid(load_config(config)) == [.00067, .002, .006]


def device_of_a_process():
    return os.environ['CUDA_VISIBLE_DEVICES']


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    """Two GPUs of the four that a cluster gave to this process are taken, by their own numbers."""
    import torch
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert demo.process_count(9, 'cuda') == 2 and demo.process_count(1, 'cuda') == 1
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    assert demo.process_count(9, 'cuda') == 1
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '5,7')
    threads = torch.get_num_threads()
    import queue
    devices: queue.SimpleQueue = queue.SimpleQueue()
    for device in ('cuda:0', 'cuda:1'):
        devices.put(device)
    seen = []
    for _ in range(2):
        with monkeypatch.context() as process:
            process.setenv('CUDA_VISIBLE_DEVICES', '5,7')
            demo.start_process(threads, devices)
            seen.append(device_of_a_process())
    assert seen == ['5', '7']


WAITING = '''
import time
from convnext_dense.commands.compare_study import at_once

if __name__ == '__main__':
    with at_once(2, 'cpu') as pool:
        waits = [pool.submit(time.sleep, 600) for _ in range(2)]
        while not all(wait.running() for wait in waits):
            time.sleep(.01)
        print('both run', flush=True)
        waits[0].result()
'''


def test_asked_to_end_the_command_takes_its_processes_along(tmp_path):
    psutil = pytest.importorskip('psutil', reason='psutil is not installed (extra: test)')
    script = tmp_path / 'waiting.py'
    script.write_text(WAITING)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == 'both run\n'
        children = psutil.Process(run.pid).children()
        run.terminate()
        assert run.wait(60) == 143
    assert len(children) > 1 and not psutil.wait_procs(children, 30)[1]


def test_a_lack_of_memory_is_said_with_what_helps():
    future: Future = Future()
    future.set_exception(BrokenProcessPool('a process died'))
    with pytest.raises(InputError, match='swin-t: there is no memory .* --batch or --size'):
        compare_study.result_of(future, 'swin-t')
    other: Future = Future()
    other.set_exception(RuntimeError('shapes differ'))
    with pytest.raises(RuntimeError, match='shapes differ'):
        compare_study.result_of(other, 'swin-t')


@pytest.mark.parametrize('seconds, text', [(.2, '1 second'), (80, '80 seconds'),
                                           (600, '10 minutes'), (7200, '2.0 hours')])
def test_times_are_told_in_their_unit(seconds, text):
    assert compare_timing.duration(seconds) == text


def test_trainings_that_are_left_are_counted(tmp_path):
    write_masks(tmp_path / 'in')
    study = make_study(tmp_path)
    assert compare_study.unfinished(study, tmp_path / 'out') == 4
    done = Training('resnet-18', 1e-3, 2)
    work_dir = tmp_path / 'out' / done.folder
    work_dir.mkdir(parents=True)
    cfg = load_config(study.configs['resnet-18'], compare_study.settings(study, done))
    (work_dir / compare_study.DONE).write_text(json.dumps(
        dict(figure=1., config=compare_study._text(cfg))))
    assert compare_study.unfinished(study, tmp_path / 'out') == 3
