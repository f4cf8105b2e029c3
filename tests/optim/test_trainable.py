"""What trains: parts frozen by name, adapters alone, and one line that says so."""
import pytest
import torch
from torch import nn

from convnext_dense.errors import InputError
from convnext_dense.models import ConvNeXt
from convnext_dense.optim.trainable import add_lora, freeze, frozen_norms, summary

ARCH = dict(depths=(1, 1, 2, 1), channels=(8, 16, 24, 32))
IMAGES = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def model():
    whole = nn.Module()
    whole.backbone = ConvNeXt(ARCH)
    whole.neck = nn.Sequential(nn.Conv2d(32, 4, 1), nn.BatchNorm2d(4))
    whole.head = nn.ModuleDict(dict(first=nn.Conv2d(4, 4, 1), second=nn.Conv2d(4, 2, 1)))
    return whole


def trained(module):
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def test_parts_are_frozen_by_their_names():
    whole = model()
    modules = freeze(whole, ['backbone', 'head.second'])
    assert modules == [whole.backbone, whole.head.second]
    assert trained(whole) == {'neck.0.weight', 'neck.0.bias', 'neck.1.weight', 'neck.1.bias',
                              'head.first.weight', 'head.first.bias'}


@pytest.mark.parametrize('parts, told', [
    (['bakbone'], "Module has no part 'bakbone'; it has backbone"),
    (['xyz'], "no part 'xyz'; it has backbone, neck, head"),
    ('backbone', r"freeze='backbone': give a list of parts, such as \['backbone', 'neck'\]"),
    ([3], 'give a list of parts'),
    (['backbone', 'neck', 'head'], 'leaves nothing to train')])
def test_what_cannot_be_frozen_is_named(parts, told):
    with pytest.raises(InputError, match=told):
        freeze(model(), parts)


def test_one_line_says_what_trains():
    whole = model()
    freeze(whole, ['backbone', 'head.second'])
    total = sum(parameter.numel() for parameter in whole.backbone.parameters())
    assert summary(whole) == (
        'trained: 0.00 M parameters (neck 0.00 M, head 0.00 M); frozen: '
        f'{(total + 10) / 1e6:.2f} M parameters (backbone {total / 1e6:.2f} M, head 0.00 M)')


def test_a_frozen_backbone_records_nothing_for_a_backward_pass():
    whole = model()
    freeze(whole, ['backbone'])
    maps = whole.backbone(IMAGES)
    assert all(one.grad_fn is None and not one.requires_grad for one in maps)
    whole.neck(maps[-1]).sum().backward()
    assert all(parameter.grad is None for parameter in whole.backbone.parameters())
    assert all(parameter.grad is not None for parameter in whole.neck.parameters())


def test_norms_with_running_statistics_are_found_where_they_are_frozen():
    backbone = ConvNeXt(ARCH, norm_cfg=dict(type='BN'))
    assert frozen_norms(backbone) == []
    backbone.requires_grad_(False)
    assert len(frozen_norms(backbone)) == 5 + 4 + 4  # of blocks, stem and downsampling, outputs


# -- LoRA ----------------------------------------------------------------------------------------

VERSIONS = dict(v1=dict(layer_scale_init_value=1.),
                v2=dict(use_grn=True, layer_scale_init_value=0.))


@pytest.mark.parametrize('version', VERSIONS)
def test_only_the_adapters_train(version):
    pytest.importorskip('peft')
    backbone = ConvNeXt(ARCH, **VERSIONS[version])
    expected = backbone(IMAGES)
    names = set(dict(backbone.named_parameters()))
    add_lora(backbone, rank=2)
    for ours, before in zip(backbone(IMAGES), expected, strict=True):
        assert torch.equal(ours, before)  # they start without effect
    sum(one.square().mean() for one in backbone(IMAGES)).backward()
    for name, parameter in backbone.named_parameters():
        adapter = '.lora_' in name
        assert parameter.requires_grad == adapter and (parameter.grad is not None) == adapter, name
        assert adapter or name.replace('.base_layer', '') in names
    assert len(trained(backbone)) == 2 * 2 * 5  # lora_A and lora_B of both layers of 5 blocks


def test_stages_that_do_not_train_or_are_not_run_get_no_adapters():
    pytest.importorskip('peft')
    backbone = ConvNeXt(ARCH, out_indices=(1, 2), frozen_stages=1)
    add_lora(backbone, rank=2)
    assert {int(name.split('.')[1]) for name in trained(backbone)} == {1, 2}
    backbone.train()
    assert {int(name.split('.')[1]) for name in trained(backbone)} == {1, 2}


@pytest.mark.parametrize('build, options, told', [
    (lambda: nn.Conv2d(3, 3, 1), {}, 'lora adapts convnext_dense.ConvNeXt, not Conv2d'),
    (lambda: ConvNeXt(ARCH, linear_pw_conv=False), {}, 'leave linear_pw_conv=False out'),
    (lambda: ConvNeXt(ARCH, frozen_stages=4), {}, 'all stages are frozen'),
    (lambda: ConvNeXt(ARCH), dict(rank=0), 'lora: rank=0, alpha=None, dropout=0.0: ValueError')])
def test_what_cannot_be_adapted_is_named(build, options, told):
    pytest.importorskip('peft')
    with pytest.raises(InputError, match=told):
        add_lora(build(), **options)
