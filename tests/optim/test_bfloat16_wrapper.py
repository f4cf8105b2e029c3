"""Mixed precision on a CPU: autocast around the forward pass, everything else as it was."""
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper

from convnext_dense.optim import Bfloat16OptimWrapper


class Model(BaseModel):
    """A layer that notes the type of its outputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(8, 4)

    def forward(self, x, mode='loss'):
        y = self.layer(x)
        self.computed = y.dtype
        return dict(loss=y.float().square().mean())


def wrapper_of(model, **options):
    return build_optim_wrapper(model, dict(
        type='convnext_dense.Bfloat16OptimWrapper', optimizer=dict(type='AdamW', lr=.01),
        **options))


def test_layers_compute_in_bfloat16_and_parameters_stay_in_float32():
    model = Model()
    wrapper = wrapper_of(model, clip_grad=dict(max_norm=1.))
    assert isinstance(wrapper, Bfloat16OptimWrapper)
    before = model.layer.weight.clone()
    model.train_step(dict(x=torch.ones(2, 8)), wrapper)
    assert model.computed == torch.bfloat16 and not torch.is_autocast_enabled('cpu')
    assert model.layer.weight.dtype == torch.float32
    assert {value.dtype for value in wrapper.optimizer.state[model.layer.weight].values()} == {
        torch.float32}
    assert not torch.equal(model.layer.weight, before)


def test_an_update_is_that_of_autocast_written_out():
    model, other = Model(), Model()
    wrapper, optimizer = wrapper_of(model), torch.optim.AdamW(other.parameters(), lr=.01)
    for value in (1., 2.):
        x = torch.full((2, 8), value)
        model.train_step(dict(x=x), wrapper)
        with torch.autocast('cpu', torch.bfloat16):
            loss = other(x)['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(model.layer.weight, other.layer.weight)


def test_gradients_accumulate():
    model = Model()
    wrapper = wrapper_of(model, accumulative_counts=2)
    before = model.layer.weight.clone()
    model.train_step(dict(x=torch.ones(2, 8)), wrapper)
    assert torch.equal(model.layer.weight, before)
    model.train_step(dict(x=torch.ones(2, 8)), wrapper)
    assert not torch.equal(model.layer.weight, before)


def test_states_are_those_of_the_plain_wrapper():
    model = Model()
    wrapper = wrapper_of(model)
    model.train_step(dict(x=torch.ones(2, 8)), wrapper)
    plain = OptimWrapper(torch.optim.AdamW(model.parameters()))
    plain.load_state_dict(wrapper.state_dict())
    assert plain.state_dict()['state'][0]['exp_avg'].equal(
        wrapper.state_dict()['state'][0]['exp_avg'])
