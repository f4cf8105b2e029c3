"""Steps with NaN or infinite losses and gradients."""
import math
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from tiny import ToyModel, toy_config
from torch import nn

from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner, files
from convnext_dense.runtime.finite import find_module, images


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
    path = files.newest_whole(tmp_path)[0]
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


def test_modules_are_named_from_the_inside(tmp_path):
    model = SickModel()
    model.sick.mode = 'forward'
    batch = dict(inputs=[torch.ones(3, 8, 8)])
    assert find_module(model, batch) == ('sick (Sick)', True)
    model.conv.weight.data[0, 0, 0, 0] = math.nan
    assert find_module(model, batch) == ('conv (Conv2d)', True)


def test_images_of_a_batch_are_named():
    class Sample:
        img_path = 'a/b.jpg'
    assert images(dict(data_samples=[Sample(), Sample()])) == ['a/b.jpg', 'a/b.jpg']
    assert images([1, 2]) == ['unknown']
