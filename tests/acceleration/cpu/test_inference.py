"""A model prepared for inference gives the values that it gave before."""
import copy

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn

from convnext_dense import ConvNeXt
from convnext_dense.acceleration.cpu.inference import prepare_for_inference
from convnext_dense.acceleration.cpu.winograd import WinogradConv2d, WinogradStack


def assert_same(ours, expected):
    """Equal up to rounding: 2e-5 of the largest value."""
    assert float((ours - expected).abs().max()) <= 2e-5 * float(expected.abs().max())


@pytest.mark.parametrize('part', [2**20, 5000], ids=['whole', 'parts'])
@pytest.mark.parametrize('v2', [False, True])
@torch.inference_mode()
def test_prepared_backbone_gives_the_same_maps(v2, part, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr('convnext_dense.chunks.CHUNK_VALUES', part)
    model = ConvNeXt(arch='atto', use_grn=v2, layer_scale_init_value=0. if v2 else 1.).eval()
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * .05)
    prepared = prepare_for_inference(copy.deepcopy(model))
    images = torch.randn(2, 3, 64, 96)
    for ours, expected in zip(prepared(images), model(images)):
        assert_same(ours, expected)


@torch.inference_mode()
def test_batch_norm_is_folded():
    torch.manual_seed(0)
    module = ConvModule(8, 6, 3, padding=1, norm_cfg=dict(type='BN')).eval()
    module.bn.running_mean.normal_()
    module.bn.running_var.uniform_(.5, 2)
    module.bn.weight.normal_()
    module.bn.bias.normal_()
    prepared = prepare_for_inference(copy.deepcopy(module))
    assert isinstance(prepared.norm, nn.Identity)
    maps = torch.randn(2, 8, 9, 7)
    assert_same(prepared(maps), module(maps))


@pytest.mark.parametrize('shape', [(1, 40, 40), (2, 33, 47), (70, 14, 14), (5, 10, 61)])
@torch.inference_mode()
def test_winograd_equals_the_direct_convolution(shape, monkeypatch):
    torch.manual_seed(0)
    conv = nn.Conv2d(128, 136, 3, padding=1)
    layer = WinogradConv2d(conv)
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
    layer = WinogradConv2d(conv)
    maps = torch.randn(shape[0], channels, *shape[1:])
    grad = torch.randn(shape[0], channels + 8, *shape[1:])
    named = dict(maps=maps, **dict(conv.named_parameters()))
    for name, tensor in named.items():
        tensor.requires_grad_(name != frozen)
    wanted = [tensor for tensor in named.values() if tensor.requires_grad]
    expected = torch.autograd.grad(conv(maps), wanted, grad)
    if channels == 128:
        monkeypatch.setattr(torch.nn.functional, 'conv2d', None)  # it is not used
    ours = torch.autograd.grad(layer(maps), wanted, grad)
    assert len(ours) == len(expected)
    for mine, other in zip(ours, expected):
        assert_same(mine, other)


@pytest.mark.parametrize('size', [(32, 32), (30, 33)])
def test_its_output_may_be_changed_in_place(size):
    torch.manual_seed(0)
    module = ConvModule(64, 64, 3, padding=1)  # its ReLU works in place
    maps = torch.randn(2, 64, *size)
    expected = torch.autograd.grad(module(maps).square().sum(), module.conv.weight)[0]
    module.conv = WinogradConv2d(module.conv)
    ours = torch.autograd.grad(module(maps).square().sum(), module.conv.weight)[0]
    assert_same(ours, expected)


def test_layers_that_have_been_replaced_train_in_16_bits_and_compiled():
    torch.manual_seed(0)
    conv, maps = nn.Conv2d(64, 64, 3, padding=1), torch.randn(2, 64, 32, 32)
    layer = WinogradConv2d(conv)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(layer(maps), conv(maps))
    compiled = torch.compile(layer, backend='eager', fullgraph=True)
    assert torch.equal(compiled(maps), conv(maps))


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


@torch.inference_mode()
def test_prepared_heads_of_a_detector_give_the_same_values():
    import mmdet.models  # noqa: F401
    from mmdet.registry import MODELS
    torch.manual_seed(0)
    box_head = MODELS.build(dict(
        type='ConvFCBBoxHead', num_shared_convs=2, num_shared_fcs=1, in_channels=64,
        conv_out_channels=64, fc_out_channels=32, num_classes=3, norm_cfg=dict(type='BN'))).eval()
    mask_head = MODELS.build(dict(
        type='FCNMaskHead', num_convs=2, in_channels=64, conv_out_channels=64, num_classes=3))
    for head, size in ((box_head, 7), (mask_head, 14)):
        features = torch.randn(20, 64, size, size).to(memory_format=torch.channels_last)
        prepared = prepare_for_inference(copy.deepcopy(head))
        assert any(isinstance(module, WinogradStack) for module in prepared.modules())
        outputs = [model(features) for model in (prepared, head)]
        for ours, expected in zip(*outputs) if head is box_head else [outputs]:
            assert_same(ours, expected)
