"""Steps with NaN or infinite losses and gradients."""
import copy
import math
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import MODELS
from tiny import ToyModel, toy_config
from torch import nn

from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner
from convnext_dense.runtime.newest_checkpoint import newest_whole
from convnext_dense.runtime.non_finite import NonFiniteGuard, find_module, images


class Sick(nn.Module):
    """Divides by zero in the forward or in the backward pass, when it is told to."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.mode = None

    def forward(self, x):
        if self.mode == 'forward':
            return x * (self.scale / 0)
        if self.mode == 'backward':
            return x + torch.sqrt(self.scale * 0)  # its derivative at 0 is infinite
        return x * self.scale


@MODELS.register_module()
class SickModel(ToyModel):
    """The toy model, sick at given steps."""

    def __init__(self, mode='forward', steps=(), constant=None):
        super().__init__()
        self.sick = Sick()
        self.mode, self.steps, self.step, self.constant = mode, steps, 0, constant

    def train_step(self, data, optim_wrapper):
        self.sick.mode = self.mode if self.step in self.steps else None
        self.step += 1
        return super().train_step(data, optim_wrapper)

    def forward(self, inputs, data_samples=None, mode='loss'):
        inputs = torch.stack(inputs)
        out = self.norm(self.sick(self.conv(inputs)))
        losses = dict(loss=(self.head(self.drop(out.mean((2, 3)))) ** 2).mean())
        if self.constant is not None and self.sick.mode:
            losses['loss_other'] = torch.tensor(self.constant)
        return losses


class Remember(Hook):
    """Keeps the state of the model after every step."""

    def __init__(self):
        self.states = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.states.append({key: value.clone() for key, value in runner.model.state_dict().items()})


def train(work_dir, skip=10, epochs=1, **model):
    import uuid
    config = toy_config(work_dir, epochs=epochs, not_finite=dict(skip=skip),
                        experiment_name=f'run_{uuid.uuid4().hex}')
    config.model = dict(type='SickModel', **model)
    runner, remember = Runner.from_cfg(config), Remember()
    runner.register_hook(remember)
    return runner, remember


def log_of(work_dir):
    return ''.join(path.read_text() for path in sorted(Path(work_dir).glob('*/*.log')))


@pytest.mark.parametrize('mode, named', [('forward', 'the loss of this step'),
                                         ('backward', 'the gradient of this step')])
def test_the_step_is_skipped_and_the_first_module_named(tmp_path, mode, named):
    runner, remember = train(tmp_path, mode=mode, steps=(2, ))
    runner.train()
    assert f'{named} is NaN or infinite, first in sick (Sick)' in log_of(tmp_path)
    assert '(1 of 10 that may be)' in log_of(tmp_path)
    before, after, later = remember.states[1:4]
    assert all(torch.equal(before[key], after[key]) for key in before)  # batch norm's too
    assert not torch.equal(after['conv.weight'], later['conv.weight'])
    assert all(value.isfinite().all() for value in remember.states[-1].values())


@pytest.mark.parametrize('constant', [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_noticed_though_its_gradient_is(tmp_path, constant):
    runner, remember = train(tmp_path, mode='none', steps=(2, ), constant=constant)
    runner.train()
    assert 'the loss of this step is NaN or infinite, first in loss_other' in log_of(tmp_path)
    before, after = remember.states[1:3]
    assert torch.equal(before['conv.weight'], after['conv.weight'])


def test_after_the_last_allowed_skip_the_run_stops_with_a_saved_state(tmp_path):
    runner, remember = train(tmp_path, skip=2, steps=(1, 3, 4))
    with pytest.raises(InputError, match=r'2 such steps were skipped before .* is in .*iter_5'):
        runner.train()
    path = newest_whole(tmp_path)[0]
    state = torch.load(path, weights_only=False)
    assert all(torch.equal(state['state_dict'][key], value)
               for key, value in remember.states[2].items())
    assert state['convnext_dense']['skipped'] == 3


def test_skip_0_stops_at_the_first(tmp_path):
    runner, _ = train(tmp_path, skip=0, steps=(1, ))
    with pytest.raises(InputError, match='first in sick'):
        runner.train()


@pytest.mark.parametrize('skip', [-1, True, 'no', 1.5])
def test_a_wrong_setting_is_refused(tmp_path, skip):
    with pytest.raises(InputError, match='not_finite.skip'):
        train(tmp_path, skip=skip)


def test_the_random_state_goes_on_as_if_the_module_had_not_been_looked_for(tmp_path):
    """Dropout draws once a step: a skipped step must draw as often as any other."""
    states = []
    for steps in ((), (5, )):
        runner, _ = train(tmp_path / str(len(steps)), steps=steps)
        runner.train()
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_huge_but_finite_gradients_pass(tmp_path):
    runner, remember = train(tmp_path)
    runner.model.register_forward_hook(lambda module, args, losses: {
        key: value * 1e15 for key, value in losses.items()} if isinstance(losses, dict) else None)
    runner.train()
    assert 'NaN' not in log_of(tmp_path)
    assert not torch.equal(remember.states[0]['conv.weight'], remember.states[1]['conv.weight'])


def test_modules_are_named_from_the_inside():
    model = SickModel()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=.1))
    model.sick.mode = 'forward'
    batch = dict(inputs=[torch.ones(3, 8, 8)])
    assert find_module(model, batch, wrapper) == ('sick (Sick)', 'loss')
    model.sick.mode = 'backward'
    assert find_module(model, batch, wrapper) == ('sick (Sick)', 'gradient')
    assert all(parameter.grad is None for parameter in model.parameters())
    model.conv.weight.data[0, 0, 0, 0] = math.nan
    assert find_module(model, batch, wrapper) == ('conv (Conv2d)', 'loss')


# -- with a loss scaler ---------------------------------------------------------------------------


class ThroughFloat16(torch.autograd.Function):
    """The identity, whose gradient goes through float16 and overflows from 65520 on."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient.half().to(gradient.dtype)


@MODELS.register_module()
class HalfModel(SickModel):
    """A gradient of 1 goes through float16: the loss scale must be 32768 or less."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.offset = nn.Parameter(torch.zeros(1))
        self.autocast = []

    def forward(self, inputs, data_samples=None, mode='loss'):
        self.autocast.append(torch.is_autocast_enabled('cpu'))
        losses = super().forward(inputs, data_samples, mode)
        return dict(losses, loss_offset=ThroughFloat16.apply(self.offset).sum())


OPTIMIZERS = [dict(type='AdamW', lr=.01, fused=True), dict(type='AdamW', lr=.01, fused=False)]
SCALED = pytest.mark.parametrize('settings', [
    dict(optimizer=optimizer, accumulative_counts=count, **(
        dict(clip_grad=dict(max_norm=.5)) if clip else {}))
    for optimizer in OPTIMIZERS for clip in (False, True) for count in (1, 2)],
    ids=[f'{fused}-{clip}-{count}' for fused in ('fused', 'unfused')
         for clip in ('unclipped', 'clipped') for count in ('each', 'accumulated')])
BATCHES = [dict(inputs=list(torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(i))))
           for i in range(12)]


def scaled(settings, loss_scale, **model):
    torch.manual_seed(0)
    made = HalfModel(**model)
    wrapper = build_optim_wrapper(made, dict(type='CpuAmpOptimWrapper', loss_scale=loss_scale,
                                             **copy.deepcopy(settings)))
    wrapper.initialize_count_status(made, 0, len(BATCHES))
    return made, wrapper


@SCALED
def test_gradients_that_overflow_twice_lower_the_scale_and_the_run_goes_on_as_in_torch(settings):
    """The same weights and scale as of steps without the guard."""
    count = settings['accumulative_counts']  # by which mmengine divides the loss
    scale = dict(init_scale=2.**17 * count)
    (model, wrapper), guard = scaled(settings, scale), NonFiniteGuard(skip=0)
    outputs = [guard.train_step(model, batch, wrapper) for batch in BATCHES]
    alone, wrapper_alone = scaled(settings, scale)
    for batch in BATCHES:
        alone.train_step(batch, wrapper_alone)
    assert wrapper.loss_scaler.state_dict() == wrapper_alone.loss_scaler.state_dict()
    assert wrapper.loss_scaler.get_scale() == 2.**15 * count
    assert (guard.skipped, guard.stop) == (0, None) and all(outputs)
    for one, other in zip(model.state_dict().values(), alone.state_dict().values()):
        assert torch.equal(one, other)
    updates = len(BATCHES) // count - 2
    assert {int(state['step']) for state in wrapper.optimizer.state.values()} == {updates}


@SCALED
@pytest.mark.parametrize('constant', [math.nan, math.inf])
def test_a_bad_loss_is_skipped_with_a_scaler_too(settings, constant, caplog):
    """Though the gradient of a loss with a constant NaN in it is a number."""
    bad = 4
    (model, wrapper), guard = scaled(settings, dict(init_scale=4.), mode='none', steps=(bad, ),
                                     constant=constant), NonFiniteGuard()
    states = []
    for batch in BATCHES:
        outputs = guard.train_step(model, batch, wrapper)
        states.append({key: value.clone() for key, value in model.state_dict().items()})
        step, count = len(states) - 1, settings['accumulative_counts']
        assert (outputs == {}) == (step // count == bad // count and (step + 1) % count == 0)
    ends = [state['conv.weight'] for state in states[settings['accumulative_counts'] - 1::
                                                     settings['accumulative_counts']]]
    same = [torch.equal(one, other) for one, other in zip(ends, ends[1:])]
    assert guard.skipped == 1 and same.count(True) == 1
    assert same.index(True) + 1 == bad // settings['accumulative_counts']


@SCALED
@pytest.mark.parametrize('loss_scale', [4., dict(init_scale=4.)], ids=['fixed', 'dynamic'])
def test_a_gradient_that_is_infinite_at_every_scale_stops_the_run(settings, loss_scale):
    count = settings['accumulative_counts']
    (model, wrapper), guard = scaled(settings, loss_scale, mode='backward',
                                     steps=range(100)), NonFiniteGuard(skip=1)
    before = {key: value.clone() for key, value in model.named_parameters()}
    for number in range(12):
        guard.train_step(model, BATCHES[number % 12], wrapper)
        if guard.stop:
            break
    # a dynamic scale first falls from 4 over 2 to 1
    assert number + 1 == count * (2 if isinstance(loss_scale, float) else 4)
    assert guard.stop.startswith(
        'the gradient of this step is NaN or infinite, first in sick (Sick)')
    assert all(torch.equal(before[key], value) for key, value in model.named_parameters())


def test_the_module_is_looked_for_under_the_autocast_of_training():
    (model, wrapper), guard = scaled(dict(optimizer=OPTIMIZERS[0]), dict(enabled=False),
                                     steps=(0, )), NonFiniteGuard()
    assert guard.train_step(model, BATCHES[0], wrapper) == {}
    assert model.autocast == [True, True] and guard.skipped == 1


@pytest.mark.parametrize('fused', [True, False])
def test_a_run_whose_first_steps_overflow_trains_to_its_end(tmp_path, fused):
    config = toy_config(tmp_path, epochs=2, not_finite=dict(skip=0), optim_wrapper=dict(
        type='CpuAmpOptimWrapper', loss_scale=dict(init_scale=2.**17),
        optimizer=dict(type='AdamW', lr=.01, fused=fused), clip_grad=dict(max_norm=1.)))
    config.model.type = 'HalfModel'
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.iter == 12 and runner.non_finite_guard.skipped == 0
    assert runner.optim_wrapper.loss_scaler.get_scale() == 2.**15
    updates = {int(state['step']) for state in runner.optim_wrapper.optimizer.state.values()}
    assert updates == {10}


def test_images_of_a_batch_are_named():
    class Sample:
        img_path = 'a/b.jpg'
    assert images(dict(data_samples=[Sample(), Sample()])) == ['a/b.jpg', 'a/b.jpg']
    assert images([1, 2]) == ['unknown']
