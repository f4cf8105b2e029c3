"""Winograd's convolutions, one by one and in stacks, against direct ones."""
import copy

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn

from convnext_dense.acceleration.cpu.winograd import WinogradConv2d
from convnext_dense.acceleration.cpu.winograd_stack import WinogradStack
from convnext_dense.acceleration.forms import give_form


def assert_same(ours, expected):
    """Equal up to rounding: 2e-5 of the largest value."""
    assert float((ours - expected).abs().max()) <= 2e-5 * float(expected.abs().max())


def winograd(conv):
    """The form of a copy of a convolution."""
    form = copy.deepcopy(conv)
    assert give_form(form, WinogradConv2d, WinogradConv2d.fits) == 1
    return form


@pytest.mark.parametrize('shape', [(1, 40, 40), (2, 33, 47), (70, 14, 14), (5, 10, 61)])
@torch.inference_mode()
def test_winograd_equals_the_direct_convolution(shape, monkeypatch):
    torch.manual_seed(0)
    conv = nn.Conv2d(128, 136, 3, padding=1)
    layer = winograd(conv)
    maps = torch.randn(shape[0], 128, *shape[1:])
    expected = conv(maps)
    monkeypatch.setattr(torch.nn.functional, 'conv2d', None)  # it is not used
    assert_same(layer(maps), expected)


@pytest.mark.parametrize('shape', [(1, 40, 40), (2, 33, 47), (9, 14, 10)])
@pytest.mark.parametrize('frozen', [None, 'maps', 'weight', 'bias', 'no bias'])
@pytest.mark.parametrize('channels', [64, 128])
def test_gradients_of_winograd_are_the_direct_convolutions(channels, shape, frozen, monkeypatch):
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, channels + 8, 3, padding=1, bias=frozen != 'no bias')
    layer = winograd(conv)
    maps = torch.randn(shape[0], channels, *shape[1:])
    grad = torch.randn(shape[0], channels + 8, *shape[1:])

    def gradients(module):
        named = dict(maps=maps, **dict(module.named_parameters()))
        for name, tensor in named.items():
            tensor.requires_grad_(name != frozen)
        wanted = [tensor for tensor in named.values() if tensor.requires_grad]
        return torch.autograd.grad(module(maps), wanted, grad)
    expected = gradients(conv)
    if channels == 128:
        monkeypatch.setattr(torch.nn.functional, 'conv2d', None)  # it is not used
    for mine, other in zip(gradients(layer), expected, strict=True):
        assert_same(mine, other)


@pytest.mark.parametrize('size', [(32, 32), (30, 33)])
def test_its_output_may_be_changed_in_place(size):
    torch.manual_seed(0)
    module = ConvModule(64, 64, 3, padding=1)  # its ReLU works in place
    maps = torch.randn(2, 64, *size)
    expected = torch.autograd.grad(module(maps).square().sum(), module.conv.weight)[0]
    module.conv = winograd(module.conv)
    ours = torch.autograd.grad(module(maps).square().sum(), module.conv.weight)[0]
    assert_same(ours, expected)


def test_off_the_cpu_in_other_types_and_compiled_torch_computes():
    torch.manual_seed(0)
    conv, maps = nn.Conv2d(64, 64, 3, padding=1), torch.randn(2, 64, 32, 32)
    layer = winograd(conv)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(layer(maps), conv(maps))
    compiled = torch.compile(layer, backend='eager', fullgraph=True)
    assert torch.equal(compiled(maps), conv(maps))
    assert torch.equal(layer.double()(maps.double()), conv.double()(maps.double()))
    assert layer.to('meta')(maps.double().to('meta')).shape == (2, 64, 32, 32)


@pytest.mark.parametrize('flat', [False, True])
@pytest.mark.parametrize('shape', [(70, 7, 7), (30, 14, 14), (150, 5, 9), (9, 16, 2), (50, 3, 11)])
@torch.inference_mode()
def test_stack_of_convolutions_equals_them_one_by_one(shape, flat, monkeypatch):
    torch.manual_seed(0)
    modules = [ConvModule(64, 72, 3, padding=1), ConvModule(72, 64, 3, padding=1, bias=False)]
    assert WinogradStack.fits(modules)
    stack = WinogradStack(modules, flat)
    maps = torch.randn(shape[0], 64, *shape[1:]).to(memory_format=torch.channels_last)
    expected = modules[1](modules[0](maps))
    monkeypatch.setattr(ConvModule, 'forward', None)  # they are not called one by one
    ours = stack(maps)
    assert_same(ours, expected)
    assert ours.is_contiguous(
        memory_format=torch.contiguous_format if flat else torch.channels_last)


@pytest.mark.parametrize('shape', [(0, 64, 7, 7), (3, 64, 7, 7), (10, 64, 20, 20)])
@torch.inference_mode()
def test_few_rois_and_large_maps_go_through_the_convolutions(shape):
    torch.manual_seed(0)
    modules = [ConvModule(64, 64, 3, padding=1)]
    maps = torch.randn(shape)
    assert torch.equal(WinogradStack(modules)(maps), modules[0](maps))


@pytest.mark.parametrize('options', [
    dict(norm_cfg=dict(type='BN')), dict(act_cfg=None), dict(act_cfg=dict(type='GELU')),
    dict(stride=2), dict(groups=2), dict(dilation=2)], ids=str)
def test_other_convolutions_are_no_stack(options):
    good = ConvModule(64, 64, 3, padding=1)
    assert not WinogradStack.fits([good, ConvModule(64, 64, 3, padding=1, **options)])
    assert WinogradStack.fits([good, good]) and not WinogradStack.fits([])
