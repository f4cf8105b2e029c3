"""A killed and resumed run is the uninterrupted one."""
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import torch
from killing import final_state, same
from mmengine.hooks import Hook
from mmengine.runner import Runner as MMEngineRunner
from tiny import ToyModel, toy_config, with_validation

from convnext_dense.acceleration import triton as triton_kernels
from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner, files
from convnext_dense.runtime.fingerprint import differences, fingerprint
from convnext_dense.runtime.newest_checkpoint import newest_whole
from convnext_dense.runtime.resuming import but_for_the_gpu

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(HERE), CUDA_VISIBLE_DEVICES='',
                   TORCH_DISABLE_SHARE_RDZV_TCP_STORE='1')  # as tools/dist_train.sh sets it


class Interrupt(BaseException):
    pass


class StopAt(Hook):
    """Raises, or sends a signal, after the step of an iteration; notes the batches."""

    priority = 'LOWEST'

    def __init__(self, iteration=None, number=None, stage='train'):
        self.iteration, self.number, self.stage = iteration, number, stage
        self.batches = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.batches.append([float(image.sum()) for image in data_batch['inputs']])
        self._stop(runner, 'train')

    def before_val_epoch(self, runner):
        self._stop(runner, 'val')

    def _stop(self, runner, stage):
        if runner.iter != self.iteration or stage != self.stage:
            return
        if self.number is None:
            raise Interrupt
        os.kill(os.getpid(), self.number)


def train(config, hook=None, resume=False):
    """Train, as far as the hook lets it; returns the runner and the hook."""
    config.resume = resume
    config.experiment_name = f'run_{uuid.uuid4().hex}'  # mmengine keeps its loggers by this name
    hook = hook or StopAt()
    runner = Runner.from_cfg(config)
    runner.register_hook(hook)
    try:
        runner.train()
    except Interrupt:
        pass
    return runner, hook


def log_of(work_dir):
    return ''.join(path.read_text() for path in sorted(Path(work_dir).glob('*/*.log')))


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('workers', [0, 2])
def test_a_resumed_run_sees_the_same_samples_and_ends_with_the_same_weights(
        tmp_path, by_epoch, workers):
    one, two = (toy_config(tmp_path / name, by_epoch=by_epoch, workers=workers)
                for name in ('one', 'two'))
    _, whole = train(one)
    _, first = train(two, StopAt(7))  # in the middle of the second epoch
    _, second = train(two, resume=True)
    assert first.batches + second.batches == whole.batches
    assert same(final_state(tmp_path / 'one'), final_state(tmp_path / 'two'))


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('by_epoch', [True, False])
def test_every_part_of_the_state_is_the_same_after_a_resume(tmp_path, by_epoch, fused):
    """AMP scaler (which skips steps and grows), EMA, schedules of lr and momentum, message hub."""
    one, two = (toy_config(
        tmp_path / name, by_epoch=by_epoch, epochs=6,
        optim_wrapper=dict(
            type='CpuAmpOptimWrapper', optimizer=dict(type='AdamW', lr=.01, fused=fused),
            loss_scale=dict(init_scale=2.**40, growth_interval=4)),
        custom_hooks=[dict(type='EMAHook', momentum=.1)],
        param_scheduler=[
            dict(type='OneCycleLR', eta_max=.05, total_steps=36, by_epoch=False),
            dict(type='CosineAnnealingMomentum', T_max=30, by_epoch=False),
            dict(type='MultiStepLR', milestones=[8, 20], by_epoch=False)])
        for name in ('one', 'two'))
    whole, _ = train(one)
    train(two, StopAt(16))
    resumed, _ = train(two, resume=True)
    one, two = (final_state(tmp_path / name) for name in ('one', 'two'))
    assert same(one, two)
    assert len(one['param_schedulers']) == 3 and one['ema_state_dict']
    assert one['optimizer']['loss_scaler']['scale'] not in (0, 2.**40)
    histories = [{key: torch.tensor(runner.message_hub.get_scalar(key).data[0])
                  for key in ('train/loss', 'train/lr')} for runner in (whole, resumed)]
    assert same(*histories) and len(histories[0]['train/loss']) == 36


BFLOAT16, FLOAT16 = dict(enabled=False), dict(init_scale=2.**10)


@pytest.mark.parametrize('before, now', [
    (None, FLOAT16), (BFLOAT16, FLOAT16), (FLOAT16, BFLOAT16), (FLOAT16, None)])
def test_a_run_goes_on_in_another_precision(tmp_path, before, now):
    """Without a word about the scaler's state torch ends in a RuntimeError."""
    def config(loss_scale):
        return toy_config(tmp_path, log_level='INFO', optim_wrapper=dict(
            optimizer=dict(type='AdamW', lr=.01, fused=True), **(
                {} if loss_scale is None else dict(
                    type='CpuAmpOptimWrapper', loss_scale=loss_scale))))
    train(config(before), StopAt(7))
    resumed, hook = train(config(now), resume=True)
    assert resumed.iter == 18 and len(hook.batches) == 10
    assert ('without loss scaling: the scale starts at 1024' in log_of(tmp_path)) == (
        now == FLOAT16)


@pytest.mark.parametrize('spoil', [
    dict(optimizer=3), dict(optimizer=dict(state={}, param_groups=None)), dict(message_hub=[]),
    dict(param_schedulers='none'), dict(param_schedulers=[dict(last_step='x')]),
    dict(convnext_dense=dict(progress=dict(kind='epoch'))), dict(convnext_dense=7),
    dict(meta=dict(iter='four', epoch=0)), dict(state_dict=[1])])
def test_a_malformed_state_ends_in_one_line(tmp_path, spoil):
    train(toy_config(tmp_path), StopAt(3))
    path = newest_whole(tmp_path)[0]
    checkpoint = torch.load(path, weights_only=False)
    files.write_checkpoint(dict(checkpoint, **spoil), path)
    for other in tmp_path.glob('*.pth'):
        if str(other) != path:
            other.unlink()
    with pytest.raises(InputError) as error:
        train(toy_config(tmp_path, load_from=path), resume=True)
    assert '\n' not in str(error.value) and path in str(error.value)


def test_nothing_is_read_twice_at_resume(tmp_path):
    log = tmp_path / 'reads'
    config = toy_config(tmp_path / 'run', log=log)
    train(config, StopAt(7))
    read = len(log.read_text().splitlines())
    train(config, resume=True)
    assert (read, len(log.read_text().splitlines())) == (16, 36)


def test_samples_do_not_depend_on_the_number_of_workers(tmp_path):
    batches = [train(toy_config(tmp_path / str(workers), workers=workers))[1].batches
               for workers in (0, 1, 3)]
    assert batches[0] == batches[1] == batches[2]
    assert len({number for batch in batches[0] for number in batch}) == 36  # no two alike


def test_a_run_without_a_seed_resumes_with_the_seed_that_it_drew(tmp_path):
    config = toy_config(tmp_path / 'run', randomness=dict(seed=None))
    runner, _ = train(config, StopAt(7))
    resumed, second = train(config, resume=True)
    assert resumed.seed == runner.seed
    whole = toy_config(tmp_path / 'whole', randomness=dict(seed=runner.seed))
    assert train(whole)[1].batches[8:] == second.batches


def test_a_validation_that_was_due_is_made_up_for(tmp_path):
    for by_epoch, interval in ((True, 1), (False, 6)):
        work_dir = tmp_path / str(by_epoch)
        config = with_validation(toy_config(work_dir, by_epoch=by_epoch), interval)
        train(config, StopAt(6, stage='val'))
        assert 'score' not in log_of(work_dir)
        config.log_level = 'INFO'
        train(config, resume=True)
        assert log_of(work_dir).count('score: ') == 3


@pytest.mark.parametrize('by_epoch', [True, False])
def test_the_best_checkpoint_is_kept_and_the_older_best_one_removed(tmp_path, by_epoch):
    config = with_validation(toy_config(tmp_path, by_epoch=by_epoch), 1 if by_epoch else 6,
                             scores=(.1, .3, .2))
    config.default_hooks.checkpoint.update(save_best='score', rule='greater', by_epoch=by_epoch,
                                           interval=1 if by_epoch else 6)
    train(config)
    step = 'epoch_2' if by_epoch else 'iter_12'
    assert [path.name for path in tmp_path.glob('best_*')] == [f'best_score_{step}.pth']
    assert 'optimizer' not in torch.load(tmp_path / f'best_score_{step}.pth', weights_only=False)


def test_a_test_alone_takes_the_weights_of_what_would_be_resumed(tmp_path):
    config = with_validation(toy_config(tmp_path, epochs=1), 1)
    config.test_dataloader, config.test_evaluator = config.val_dataloader, config.val_evaluator
    config.update(test_cfg=dict(), resume=True)
    trained = Runner.from_cfg(config)
    trained.train()
    config.update(experiment_name=f'run_{uuid.uuid4().hex}', train_dataloader=None,
                  train_cfg=None, optim_wrapper=None, param_scheduler=None)
    tested = Runner.from_cfg(config)
    assert tested.test() == dict(score=.1)
    for name, weight in trained.model.state_dict().items():
        assert torch.equal(tested.model.state_dict()[name], weight)


def test_only_the_newest_are_kept_and_the_pointer_names_the_last(tmp_path):
    train(toy_config(tmp_path))
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == [
        'iter_16.pth', 'iter_17.pth', 'iter_18.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == 'iter_18.pth'


def test_a_kill_between_writing_and_removing_leaves_nothing_behind(tmp_path, monkeypatch):
    from convnext_dense.runtime import CheckpointHook

    def killed(path):
        raise Interrupt
    config = toy_config(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointHook, '_remove', staticmethod(killed))
        train(config)
    assert len(list(tmp_path.glob('*.pth'))) == 4
    train(config, resume=True)
    assert len(list(tmp_path.glob('*.pth'))) == 3


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize('hook_by_epoch', [True, False])
def test_a_signal_saves_the_state_and_ends_with_its_status(tmp_path, number, hook_by_epoch):
    one, two = (toy_config(tmp_path / name) for name in ('one', 'two'))
    for config in (one, two):
        config.default_hooks.checkpoint = dict(
            type='convnext_dense.CheckpointHook', by_epoch=hook_by_epoch,
            interval=1 if hook_by_epoch else 100)
    train(one)
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as end:
        train(two, StopAt(7, number))
    assert end.value.code == 128 + number
    assert signal.getsignal(number) == before
    assert (tmp_path / 'two/last_checkpoint').read_text().endswith('iter_8.pth')
    train(two, resume=True)
    assert same(final_state(tmp_path / 'one'), final_state(tmp_path / 'two'))
    assert (tmp_path / 'two/iter_8.pth').exists() != hook_by_epoch


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('hook_by_epoch', [True, False])
def test_a_signal_during_validation_does_not_wait_for_its_end(tmp_path, by_epoch, hook_by_epoch):
    """In validation EMA has swapped the weights; what is saved are the weights of training."""
    one, two = (with_validation(toy_config(
        tmp_path / name, by_epoch=by_epoch, custom_hooks=[dict(type='EMAHook', momentum=.1)]),
        2 if by_epoch else 12) for name in ('one', 'two'))
    for config in (one, two):
        config.default_hooks.checkpoint = dict(
            type='convnext_dense.CheckpointHook', by_epoch=hook_by_epoch,
            interval=3 if hook_by_epoch else 18)
        config.val_evaluator.scores = [.1, .2]
    train(one)
    two.val_evaluator.scores = []  # the stopped validation must not get so far
    with pytest.raises(SystemExit) as end:
        train(two, StopAt(12, signal.SIGTERM, stage='val'))
    assert end.value.code == 143
    assert (tmp_path / 'two/last_checkpoint').read_text().endswith('iter_12.pth')
    two.val_evaluator.scores = [.1, .2]
    train(two, resume=True)
    assert same(final_state(tmp_path / 'one'), final_state(tmp_path / 'two'))


def test_with_gradient_accumulation_checkpoints_wait_for_the_update(tmp_path):
    one, two = (toy_config(tmp_path / name) for name in ('one', 'two'))
    for config in (one, two):
        config.optim_wrapper.accumulative_counts = 4
        config.default_hooks.checkpoint.max_keep_ckpts = -1
    train(one)
    assert {path.name for path in (tmp_path / 'one').glob('*.pth')} == {
        f'iter_{number}.pth' for number in (4, 8, 12, 16, 18)}
    train(two, StopAt(9))
    train(two, resume=True)
    assert same(final_state(tmp_path / 'one'), final_state(tmp_path / 'two'))


def test_asynchronous_writing_gives_the_same_checkpoints(tmp_path):
    for name, asynchronous in (('one', False), ('two', True)):
        config = toy_config(tmp_path / name)
        config.default_hooks.checkpoint.asynchronous = asynchronous
        train(config)
    assert sorted(path.name for path in (tmp_path / 'two').glob('*.pth')) == [
        'iter_16.pth', 'iter_17.pth', 'iter_18.pth']
    for number in (16, 17, 18):
        one, two = (torch.load(tmp_path / name / f'iter_{number}.pth', weights_only=False)
                    for name in ('one', 'two'))
        assert same(one['state_dict'], two['state_dict'])
        assert same(one['optimizer'], two['optimizer'])


def test_an_error_of_asynchronous_writing_is_raised_at_a_later_step(tmp_path, monkeypatch):
    def full(checkpoint, path):
        raise files.WriteError('no space')
    monkeypatch.setattr(files, 'write_checkpoint', full)
    config = toy_config(tmp_path)
    config.default_hooks.checkpoint.asynchronous = True
    with pytest.raises(InputError, match='no space'):
        train(config)


@pytest.mark.parametrize('by_epoch', [True, False])
def test_another_number_of_workers_is_exact(tmp_path, by_epoch):
    one, two = (toy_config(tmp_path / name, by_epoch=by_epoch) for name in ('one', 'two'))
    train(one)
    train(two, StopAt(7))
    two.train_dataloader.num_workers = 2
    train(two, resume=True)
    assert same(final_state(tmp_path / 'one'), final_state(tmp_path / 'two'))


@pytest.mark.parametrize('change, message', [
    (dict(batch_size=4), 'approximate: the batch of all processes was 2 and is 4'),
    (dict(epochs=5), 'approximate: 3 epochs became 5'),
    (dict(length=14), 'approximate: the data set had 12 images and has 14'),
    (dict(), 'exact'),
])
def test_the_log_says_what_is_approximate(tmp_path, change, message):
    train(toy_config(tmp_path), StopAt(7))
    config = toy_config(tmp_path, **dict(change, log_level='INFO'))
    runner, second = train(config, resume=True)
    assert f'the resumed run is {message}' in log_of(tmp_path)
    if 'batch_size' in change:  # 4 of 12 images of the second epoch were done
        assert len(second.batches) == 2 + 3


def adamw(**settings):
    return dict(optimizer=dict(dict(type='AdamW', lr=.01), **settings.pop('optimizer', {})),
                **settings)


@pytest.mark.parametrize('change, message', [
    (dict(optim_wrapper=adamw(optimizer=dict(lr=.5))),
     "optim_wrapper.optimizer.lr was 0.01 and is 0.5 (the checkpoint's is used)"),
    (dict(optim_wrapper=adamw(optimizer=dict(weight_decay=.5))),
     "optim_wrapper.optimizer.weight_decay was not set and is 0.5 (the checkpoint's is used)"),
    (dict(optim_wrapper=adamw(clip_grad=dict(max_norm=1.))),
     "optim_wrapper.clip_grad.max_norm was not set and is 1.0 (the config's is used)"),
    (dict(optim_wrapper=adamw(optimizer=dict(fused=True))),
     "optim_wrapper.optimizer.fused was not set and is True (the config's is used)"),
    (dict(param_scheduler=[dict(type='LinearLR', start_factor=.5, by_epoch=False, end=18)]),
     "param_scheduler.0.start_factor was 0.1 and is 0.5 (the checkpoint's is used)"),
    (dict(model=dict(type='ToyModel', slope=.2)),
     "model.slope was not set and is 0.2 (the config's is used)"),
])
def test_a_changed_setting_is_named_with_whose_value_is_used(tmp_path, change, message):
    train(toy_config(tmp_path), StopAt(7))
    runner, _ = train(toy_config(tmp_path, log_level='INFO', **change), resume=True)
    assert f'the resumed run is approximate: {message}' in log_of(tmp_path)
    assert 'run is exact' not in log_of(tmp_path)
    group, = runner.optim_wrapper.optimizer.param_groups
    assert (group['initial_lr'], group['weight_decay']) == (.01, .01)
    assert bool(group['fused']) == ('fused' in message)


@pytest.mark.parametrize('fused', [True, False])
def test_another_implementation_of_the_optimizer_goes_on_with_a_scaler(tmp_path, fused):
    """The state must not bring the old one back, which the scaler does not expect."""
    for value, stop in ((not fused, StopAt(7)), (fused, StopAt())):
        config = toy_config(tmp_path, optim_wrapper=dict(
            type='CpuAmpOptimWrapper', **adamw(optimizer=dict(fused=value))))
        runner, _ = train(config, stop, resume=True)
    assert runner.iter == 18
    assert runner.optim_wrapper.optimizer.param_groups[0]['fused'] is fused


def test_a_checkpoint_without_a_fingerprint_is_not_called_exact(tmp_path):
    train(toy_config(tmp_path), StopAt(7))
    path = newest_whole(tmp_path)[0]
    checkpoint = torch.load(path, weights_only=False)
    del checkpoint['convnext_dense']['fingerprint']
    files.write_checkpoint(checkpoint, path)
    train(toy_config(tmp_path, log_level='INFO'), resume=True)
    assert 'approximate: the checkpoint, of an earlier version, does not say' in log_of(tmp_path)


def test_fingerprints_are_of_what_decides_the_numbers():
    def of(**settings):
        return fingerprint(dict(dict(model=dict(type='M', norm=dict(eps=1e-6)), work_dir='a'),
                                **settings), torch.device('cpu'))
    same_numbers = dict(work_dir='b', train_dataloader=dict(num_workers=8, persistent_workers=True))
    assert differences(of(), of(**same_numbers)) == []
    assert differences(of(model=dict(type=ToyModel)), of(model=dict(type='ToyModel'))) == []
    assert differences(of(custom_hooks=[(1, 2)]), of(custom_hooks=[[1, 2]])) == []
    assert differences(of(), of(acceleration=dict(winograd='infer'))) == []  # the default
    assert differences(of(), of(acceleration=dict(winograd=True))) == [
        "acceleration.winograd was infer and is True (the config's is used)"]
    assert differences(of(acceleration=False), of(acceleration=False)) == []
    assert 'acceleration.forms was not set and is True (the config\'s is used)' in differences(
        of(acceleration=False), of())
    pipeline = [dict(type='Flip', prob=.5), dict(type='Crop')]
    changed = of(train_dataloader=dict(dataset=dict(pipeline=pipeline[::-1])))
    assert differences(of(train_dataloader=dict(dataset=dict(pipeline=pipeline))), changed)
    assert differences(dict(of(), torch='1'), of()) == [f'torch was 1 and is {torch.__version__}']
    many = differences({}, {f'model.{number:02d}': '' for number in range(20)})
    assert len(many) == 9 and many[-1] == 'and 12 more settings'
    long = [of(model=dict(names='x' * 100 + end)) for end in 'ab']
    assert len(differences(*long)) == 1 and len(differences(*long)[0]) < 250


def test_the_kernels_that_ran_are_part_of_it(monkeypatch):
    def of(ops):
        return fingerprint(dict(acceleration=dict(ops=ops)), torch.device('cuda'))
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: 'H100')
    monkeypatch.setattr(triton_kernels, '_obstacle', lambda device: None)
    with_kernels = of('auto')
    assert differences(with_kernels, of('triton')) == []
    monkeypatch.setattr(triton_kernels, '_obstacle', lambda device: 'Triton is not installed')
    assert differences(of('auto'), of('torch')) == []
    line, = differences(with_kernels, of('auto'))
    assert line.startswith('acceleration.ops was triton 3.') and 'is torch' in line


@pytest.mark.parametrize('change, message', [
    (dict(epochs=1), 'has done 2 epochs, the config wants 1'),
    (dict(by_epoch=False), 'is of a run by epoch, the config trains by iteration'),
    (dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1, weight_decay=.1),
                             paramwise_cfg=dict(norm_decay_mult=0.))), 'is of another optimizer'),
    (dict(param_scheduler=[]), 'has 1 schedules of the learning rate, the config 0'),
])
def test_what_cannot_go_on_is_refused_in_one_line(tmp_path, change, message):
    train(toy_config(tmp_path), StopAt(13))
    config = toy_config(tmp_path, **change)
    with pytest.raises(InputError, match=message) as error:
        train(config, resume=True)
    assert '\n' not in str(error.value)


def test_another_model_is_refused(tmp_path):
    train(toy_config(tmp_path), StopAt(3))
    path = newest_whole(tmp_path)[0]
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['state_dict']['conv.weight'] = torch.zeros(1)
    files.write_checkpoint(checkpoint, path)
    with pytest.raises(InputError, match='is of another model: .*conv.weight'):
        train(toy_config(tmp_path), resume=True)


def test_a_named_checkpoint_must_be_whole_and_hold_a_state(tmp_path):
    train(toy_config(tmp_path), StopAt(3))
    path = tmp_path / 'iter_4.pth'
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r'iter_4.pth: the file is torn; .* is .*iter_3.pth'):
        train(toy_config(tmp_path, load_from=str(path)), resume=True)
    files.write_checkpoint(dict(state_dict={}), tmp_path / 'weights.pth')
    with pytest.raises(InputError, match='holds weights only'):
        train(toy_config(tmp_path, load_from=str(tmp_path / 'weights.pth')), resume=True)
    with pytest.raises(InputError, match='no such file'):
        train(toy_config(tmp_path, load_from=str(tmp_path / 'nothing.pth')), resume=True)


def test_a_checkpoint_of_mmengine_is_resumed_approximately(tmp_path):
    config = toy_config(tmp_path, log_level='INFO')
    config.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=True, interval=1)
    hook = StopAt(8)
    runner = MMEngineRunner.from_cfg(config)
    runner.register_hook(hook)
    with pytest.raises(Interrupt):
        runner.train()
    _, second = train(config, resume=True)
    assert 'was not written by this toolkit: the resumed run is approximate' in log_of(tmp_path)
    assert len(second.batches) == 12


def test_mmengine_resumes_a_checkpoint_of_this_toolkit(tmp_path):
    config = toy_config(tmp_path)
    config.default_hooks.checkpoint = dict(
        type='convnext_dense.CheckpointHook', by_epoch=True, interval=1)
    train(config, StopAt(8))
    config.resume = True
    # by name: mmengine takes the pointer for a path, not for one relative to the folder
    config.load_from = newest_whole(tmp_path)[0]
    with pytest.raises(InputError, match="runner_type='convnext_dense.Runner'"):
        MMEngineRunner.from_cfg(config).train()
    config.default_hooks.checkpoint.type = 'CheckpointHook'
    runner = MMEngineRunner.from_cfg(config)
    runner.train()
    assert (runner.epoch, runner.iter) == (3, 18)


# -- with SIGKILL ---------------------------------------------------------------------------------


def kill_runs(kind, work_dir, *options):
    ran = subprocess.run([sys.executable, HERE / 'killing.py', kind, work_dir, '--quiet',
                          *map(str, options)], cwd=REPOSITORY, env=ENVIRONMENT,
                         capture_output=True, text=True)
    assert not ran.returncode, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(root, train=8, val=2, size=64)
    return root


@pytest.mark.parametrize('options', [(), ('--processes', 2), ('--asynchronous', )], ids=[
    'one process', 'one of two', 'asynchronous'])
def test_a_killed_and_resumed_run_ends_bit_identical(tmp_path, options):
    result = kill_runs('toy', tmp_path, '--runs', 1, '--kills', 1, *options)
    assert result['different'] == [] and result['kills'] == 1


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['detector', 'segmenter'])
def test_20_killed_and_resumed_runs_with_asynchronous_writing_end_bit_identical(
        tmp_path, shapes, kind):
    """With checkpoints written in a thread, one after each step; 4 to 5 minutes each."""
    result = kill_runs(kind, tmp_path, '--data', shapes, '--runs', 20, '--kills', 2,
                       '--asynchronous')
    assert result['different'] == []
    assert result['kills'] >= 20


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
@pytest.mark.parametrize('kind', ['detector', 'segmenter'])
def test_20_killed_and_resumed_runs_end_bit_identical(tmp_path, shapes, kind, processes):
    """Each run is killed with SIGKILL at two random moments; a checkpoint is written after each
    step, so many kills hit the writing."""
    result = kill_runs(kind, tmp_path, '--data', shapes, '--runs', 20, '--kills', 2,
                       '--processes', processes)
    assert result['different'] == []
    assert result['kills'] >= 20
    assert len(set(result['resumed_at'])) > 3  # the kills hit different places


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['toy', 'segmenter', 'sharded'])
def test_the_run_goes_on_after_one_of_two_processes_was_killed_under_torchrun(
        tmp_path, shapes, kind):
    for name, rank, iteration in (('whole', -1, -1), ('killed', 1, 5)):
        ran = subprocess.run(
            [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--standalone',
             '--max-restarts=1', HERE / 'elastic.py', kind, shapes, tmp_path / name, str(rank),
             str(iteration)], cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True)
        assert not ran.returncode, ran.stderr[-3000:]
    assert 'Signal 9 (SIGKILL)' in ran.stderr or 'exitcode: -9' in ran.stderr
    assert same(final_state(tmp_path / 'whole'), final_state(tmp_path / 'killed'))


@pytest.mark.parametrize('device, deterministic, left_open', [
    ('cpu', False, False), ('cuda', True, False), ('cuda:1', False, True)])
def test_exact_on_a_gpu_leaves_the_order_of_its_sums_open(device, deterministic, left_open):
    text = but_for_the_gpu(torch.device(device), deterministic)
    assert bool(text) == ('deterministic=True' in text) == left_open
