"""A model prepared for inference gives the values that it gave before."""
import copy

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn

from convnext_dense import ConvNeXt
from convnext_dense.models.inference import prepare_for_inference
from convnext_dense.models.winograd import WinogradConv2d


def assert_same(ours, expected):
    """Equal up to rounding: 2e-5 of the largest value."""
    assert float((ours - expected).abs().max()) <= 2e-5 * float(expected.abs().max())


@pytest.mark.parametrize('v2', [False, True])
@torch.inference_mode()
def test_prepared_backbone_gives_the_same_maps(v2):
    torch.manual_seed(0)
    model = ConvNeXt(arch='atto', use_grn=v2, layer_scale_init_value=0. if v2 else 1.).eval()
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * .05)
    prepared = prepare_for_inference(copy.deepcopy(model))
    pictures = torch.randn(2, 3, 64, 96)
    for ours, expected in zip(prepared(pictures), model(pictures)):
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
def test_winograd_equals_the_direct_convolution(shape):
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 72, 3, padding=1)
    layer = WinogradConv2d(conv)
    maps = torch.randn(shape[0], 64, *shape[1:])
    assert_same(layer(maps), conv(maps))
    assert layer._filters is not None  # the direct convolution was not used
