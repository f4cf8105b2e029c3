"""The block's form for CPUs against the same block layer by layer, and where it steps aside."""
import copy
from unittest import mock

import pytest
import torch
from torch import nn

from convnext_dense.acceleration.cpu import block as cpu_block
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
    return block


def outputs_and_gradients(block, x):
    x = x.clone().requires_grad_()
    torch.manual_seed(1)  # of drop path
    y = block(x)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    return [y, *torch.autograd.grad((y * weight).sum(), [x, *block.parameters()])]


def plain(block):
    return mock.patch.object(cpu_block, 'fits', return_value=False)


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('size', [(9, 7), (1, 5)])  # more pixels than channels, and fewer
@pytest.mark.parametrize('form', FORMS)
def test_the_same_values_and_gradients_as_layer_by_layer(form, size, channels_last):
    block = random_block(**FORMS[form])
    x = torch.randn(4, 6, *size)
    if channels_last:
        block, x = (value.to(memory_format=torch.channels_last) for value in (block, x))
    with mock.patch.object(cpu_block, 'compute', wraps=cpu_block.compute) as compute:
        found = outputs_and_gradients(block, x)
    assert compute.called
    with plain(block):
        expected = outputs_and_gradients(block, x)
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
    assert torch.autograd.gradcheck(cpu_block.PointwisePair.apply,
                                    (*tensors, gamma, *grn, factor, True))


def test_a_channel_of_zeros_has_no_gradient_through_grn():
    block = random_block(use_grn=True)
    with torch.no_grad():
        block.pwconv1.weight[0] = 0.
        block.pwconv1.bias[0] = 0.  # GELU leaves the channel 0
    x = torch.randn(2, 6, 5, 5)
    found = outputs_and_gradients(block, x)
    with plain(block):
        expected = outputs_and_gradients(block, x)
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
    with plain(block):
        assert found < kept()


def test_inference_changes_neither_input_nor_values():
    block, x = random_block(use_grn=True).eval(), torch.randn(2, 6, 8, 8)
    before = x.clone()
    with torch.no_grad():
        found = block(x)
        with plain(block):
            assert torch.allclose(found, block(x), atol=1e-5)
    assert torch.equal(x, before)


def test_other_activations_types_autocast_and_hooks_go_layer_by_layer():
    x = torch.randn(1, 6, 8, 8)
    block = random_block()
    assert cpu_block.fits(block, x)
    assert not cpu_block.fits(random_block(act_cfg=dict(type='ReLU')), x)
    assert not cpu_block.fits(block, x.double())
    assert not cpu_block.fits(block, x.to('meta'))
    assert not cpu_block.fits(block, x[:0])
    with torch.autocast('cpu', torch.bfloat16):
        assert not cpu_block.fits(block, x)
    watched, seen = copy.deepcopy(block), []
    watched.act.register_forward_hook(lambda *args: seen.append(args))
    watched(x)
    assert len(seen) == 1
