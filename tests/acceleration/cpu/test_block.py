"""The block's form for CPUs against the same block layer by layer, and where it steps aside."""
from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from convnext_dense.acceleration.cpu.block import CpuBlock
from convnext_dense.acceleration.cpu.pointwise import PointwisePair
from convnext_dense.acceleration.forms import give_form, remove_forms
from convnext_dense.models.convnext import Block

OPTIONS = dict(norm_cfg=dict(type='LN2d', eps=1e-6), act_cfg=dict(type='GELU'))
FORMS = {
    'V1': {},
    'V2': dict(use_grn=True, layer_scale_init_value=0.),
    'V2 with layer scale': dict(use_grn=True),
    'without layer scale': dict(layer_scale_init_value=0.),
    'drop path': dict(drop_path_rate=.5),
    'V2 with drop path': dict(use_grn=True, drop_path_rate=.5),
    'pointwise convolutions': dict(linear_pw_conv=False),
    'batch norm': dict(norm_cfg=dict(type='BN')),
    'recomputed': dict(with_cp=True)}


def random_block(**options):
    torch.manual_seed(0)
    block = Block(6, **{**OPTIONS, **options})
    for parameter in block.parameters():
        nn.init.normal_(parameter, .3, .5)
    assert give_form(block, CpuBlock) == 1
    return block


def outputs_and_gradients(block, x):
    x = x.clone().requires_grad_()
    torch.manual_seed(1)  # of drop path
    y = block(x)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    return [y, *torch.autograd.grad((y * weight).sum(), [x, *block.parameters()])]


def plain(block):
    """The same layers, one after the other."""
    remove_forms(block)
    assert type(block) is Block
    return block


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('size', [(9, 7), (1, 5)])  # more pixels than channels, and fewer
@pytest.mark.parametrize('form', FORMS)
def test_the_same_values_and_gradients_as_layer_by_layer(form, size, channels_last):
    block = random_block(**FORMS[form])
    x = torch.randn(4, 6, *size)
    if channels_last:
        block, x = (value.to(memory_format=torch.channels_last) for value in (block, x))
    with mock.patch.object(PointwisePair, 'apply', wraps=PointwisePair.apply) as apply:
        found = outputs_and_gradients(block, x)
    assert apply.called
    expected = outputs_and_gradients(plain(block), x)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 2e-5 * b.abs().max().clamp(min=1)


@pytest.mark.parametrize('height', [3, 1])  # more pixels than channels, and fewer
@pytest.mark.parametrize('form', ['V1', 'V2', 'V2 with layer scale'])
def test_the_gradients_are_those_of_small_differences(form, height):
    block = random_block(**FORMS[form]).double()
    x = torch.randn(2, height, 4, 6, dtype=torch.double)
    tensors = [t.detach().requires_grad_() for t in (
        x, torch.randn_like(x), block.pwconv1.weight, block.pwconv1.bias, block.pwconv2.weight,
        block.pwconv2.bias)]
    gamma = block.gamma.detach().requires_grad_() if block.layer_scale else None
    grn = [block.grn.gamma.detach().requires_grad_(), block.grn.beta.detach().requires_grad_(),
           1e-6] if block.use_grn else [None, None, 0.]
    factor = torch.tensor([0., 2.], dtype=torch.double).view(2, 1, 1, 1)
    assert torch.autograd.gradcheck(PointwisePair.apply,
                                    (*tensors, gamma, *grn, factor, True))


def test_a_channel_of_zeros_has_no_gradient_through_grn():
    block = random_block(use_grn=True)
    with torch.no_grad():
        block.pwconv1.weight[0] = 0.
        block.pwconv1.bias[0] = 0.  # GELU leaves the channel 0
    x = torch.randn(2, 6, 5, 5)
    found = outputs_and_gradients(block, x)
    expected = outputs_and_gradients(plain(block), x)
    for a, b in zip(found, expected, strict=True):
        assert a.isfinite().all() and torch.allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('use_grn', [False, True])
def test_it_keeps_less_for_the_backward_pass(use_grn):
    block, x = random_block(use_grn=use_grn), torch.randn(2, 6, 32, 32)

    def kept():
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            y = block(x.requires_grad_())  # alive until the storages are counted
        assert y.requires_grad
        return sum(sizes.values())
    found = kept()
    plain(block)
    assert found < kept()


def test_inference_changes_neither_input_nor_values():
    block, x = random_block(use_grn=True).eval(), torch.randn(2, 6, 8, 8)
    before = x.clone()
    with torch.no_grad():
        found = block(x)
        assert torch.allclose(found, plain(block)(x), atol=1e-5)
    assert torch.equal(x, before)


@pytest.mark.parametrize('options, change', [
    (dict(act_cfg=dict(type='ReLU')), lambda x: x), ({}, torch.Tensor.double),
    ({}, lambda x: x.to('meta')), ({}, lambda x: x[:0])], ids=['ReLU', 'double', 'meta', 'empty'])
def test_other_activations_and_types_go_layer_by_layer(options, change):
    block, x = random_block(**options), change(torch.randn(1, 6, 8, 8))
    with mock.patch.object(PointwisePair, 'apply', side_effect=AssertionError):
        assert block.to(x.device, x.dtype)(x).shape == x.shape


def test_autocast_goes_layer_by_layer():
    with mock.patch.object(PointwisePair, 'apply', side_effect=AssertionError), \
            torch.autocast('cpu', torch.bfloat16):
        random_block()(torch.randn(1, 6, 8, 8))


class LowRank(nn.Module):
    """An adapter around a linear layer, as LoRA has it."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.adapter = nn.Linear(layer.in_features, layer.out_features, bias=False)

    @property
    def weight(self):  # as adapters of libraries show the layer's
        return self.layer.weight

    @property
    def bias(self):
        return self.layer.bias

    def forward(self, x):
        return self.layer(x) + self.adapter(x)


class Twice(nn.Module):
    def forward(self, weight):
        return 2 * weight


@pytest.mark.parametrize('name', ['pwconv1', 'pwconv2'])
def test_a_wrapped_layer_counts_and_its_adapter_gets_a_gradient(name):
    block, x = random_block(use_grn=True), torch.randn(2, 6, 8, 8)
    before = block(x)
    setattr(block, name, LowRank(getattr(block, name)))
    after = block(x)
    assert not torch.allclose(before, after, atol=1e-3)
    after.sum().backward()
    assert getattr(block, name).adapter.weight.grad.abs().sum() > 0
    torch.testing.assert_close(after, plain(block)(x))


@pytest.mark.parametrize('name', ['dwconv', 'norm', 'pwconv1', 'pwconv2'])
def test_a_parametrised_layer_counts(name):
    block, x = random_block(), torch.randn(2, 6, 8, 8)
    before = block(x)
    parametrize.register_parametrization(getattr(block, name), 'weight', Twice())
    after = block(x)
    assert not torch.allclose(before, after, atol=1e-3)
    torch.testing.assert_close(after, plain(block)(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('name', ['dwconv', 'norm', 'pwconv1', 'act', 'grn', 'pwconv2',
                                  'drop_path'])
def test_hooks_of_every_layer_fire(name):
    block, seen = random_block(use_grn=True, drop_path_rate=.5), []
    layer = getattr(block, name)
    for register in (layer.register_forward_hook, layer.register_forward_pre_hook,
                     layer.register_full_backward_hook):
        register(lambda module, *args: seen.append(module))
    block(torch.randn(1, 6, 8, 8, requires_grad=True)).sum().backward()
    assert seen == [layer] * 3


@pytest.mark.parametrize('name, other', [
    ('dwconv', nn.Conv2d(6, 6, 5, padding=2, groups=6)), ('act', nn.ReLU()),
    ('pwconv1', nn.Linear(6, 24, bias=False))])
def test_another_layer_in_place_of_one_counts(name, other):
    block, x = random_block(), torch.randn(2, 6, 8, 8)
    setattr(block, name, other)
    torch.testing.assert_close(block(x), plain(block)(x))
