"""Evaluating in bfloat16: what autocast gives, with weights cast once, and one way back."""
import copy

import pytest
import torch
from torch import nn

from convnext_dense.acceleration import Acceleration, prepare
from convnext_dense.acceleration.bfloat16 import Bfloat16GRN
from convnext_dense.acceleration.forms import remove_forms
from convnext_dense.models import ConvNeXt
from convnext_dense.models.layers import GRN


@pytest.fixture(params=[dict(layer_scale_init_value=1.),
                        dict(use_grn=True, layer_scale_init_value=0.)], ids=['v1', 'v2'])
def backbone(request):
    torch.manual_seed(0)
    return ConvNeXt(arch='atto', **request.param).eval()


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def distance(maps, expected):
    """Of the last map, relative to its largest value."""
    return float((maps[-1].float() - expected[-1]).abs().max() / expected[-1].abs().max())


@torch.no_grad()
def test_a_backbone_is_as_far_from_float32_as_under_autocast(backbone, images):
    expected = backbone(images)
    with torch.autocast('cpu', torch.bfloat16):
        by_autocast = distance(backbone(images), expected)
    prepare(backbone, settings=Acceleration(bfloat16=True))
    ours = distance(backbone(images), expected)
    assert 1e-4 < ours < 2 * by_autocast and by_autocast < .05


@torch.no_grad()
def test_grn_sums_up_in_float32_and_leaves_maps_in_bfloat16():
    torch.manual_seed(0)
    plain = GRN(24)
    nn.init.normal_(plain.gamma)
    nn.init.normal_(plain.beta)
    x = torch.randn(2, 40, 56, 24).bfloat16()
    form = copy.deepcopy(plain)
    form.__class__ = Bfloat16GRN
    with torch.autocast('cpu', torch.bfloat16):
        ours = form(x)
    expected = plain(x.float())
    assert ours.dtype == torch.bfloat16
    # scale, product, bias and result are rounded, each by 2^-8 of itself
    parts = 2 * (expected - plain.beta).abs() + plain.beta.abs() + expected.abs()
    assert ((ours.float() - expected).abs() <= 2**-8 * parts + 1e-6).all()
    with torch.enable_grad():
        assert torch.equal(form(x), plain(x))
    assert torch.equal(form(x.float()), plain(x.float()))


def test_layers_are_cast_and_norms_are_not(backbone):
    names = set(backbone.state_dict())
    prepare(backbone, settings=Acceleration(bfloat16=True, forms=False))
    assert set(backbone.state_dict()) == names
    for module in backbone.modules():
        for parameter in module.parameters(recurse=False):
            assert parameter.dtype == (torch.bfloat16 if isinstance(
                module, (nn.Conv2d, nn.Linear)) else torch.float32)


@torch.no_grad()
def test_it_is_the_same_class_still_and_can_be_copied_and_undone(backbone, images):
    prepare(backbone, settings=Acceleration(bfloat16=True))
    assert isinstance(backbone, ConvNeXt)
    other = copy.deepcopy(backbone)
    assert all(map(torch.equal, other(images), backbone(images)))
    assert not torch.is_autocast_enabled('cpu')
    remove_forms(backbone)
    assert type(backbone) is ConvNeXt


def test_training_is_left_to_the_optimizer_wrapper(backbone):
    prepare(backbone, 'train', settings=Acceleration(bfloat16=True, forms=False))
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}
    assert type(backbone) is ConvNeXt
