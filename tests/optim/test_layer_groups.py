"""The published grouping, written out, against the pure function."""
import subprocess
import sys

import pytest

from convnext_dense.errors import InputError
from convnext_dense.models.architectures import ARCHITECTURES
from convnext_dense.optim import layer_groups
from convnext_dense.optim.layer_groups import (
    check_num_layers,
    has_weight_decay,
    layer_group,
    layer_scale,
    needed_layers,
)

DEPTHS = {6: (3, 3, 9, 3), 12: (3, 3, 27, 3)}


def published_group(name, last):
    """The table of the official recipe, case by case."""
    parts = name.split('.')
    if parts[0] == 'downsample_layers':
        return {'0': 0, '1': 2, '2': 3, '3': last}[parts[1]]
    if parts[0] == 'stages':
        return {'0': 1, '1': 2, '2': 3 + int(parts[2]) // 3, '3': last}[parts[1]]
    return last + 1


def parameter_names(depths):
    for stage, depth in enumerate(depths):
        for part in ('0.weight', '0.bias', '1.weight'):
            yield f'downsample_layers.{stage}.{part}'
        for block in range(depth):
            for part in ('gamma', 'dwconv.weight', 'norm.bias', 'pwconv1.weight', 'grn.beta'):
                yield f'stages.{stage}.{block}.{part}'
        yield f'norm{stage}.weight'


@pytest.mark.parametrize('num_layers', [6, 12])
def test_layer_wise_groups_match_the_published_table(num_layers):
    depths = DEPTHS[num_layers]
    assert needed_layers(depths) == num_layers
    for name in parameter_names(depths):
        assert layer_group(name, 'convnext', depths, num_layers) == published_group(
            name, num_layers), name


@pytest.mark.parametrize('num_layers', [6, 12])
def test_stage_wise_groups_match_the_published_table(num_layers):
    for name in parameter_names(DEPTHS[num_layers]):
        parts = name.split('.')
        expected = {'downsample_layers': 0, 'stages': int(parts[1]) + 1 if parts[1].isdigit()
                    else None}.get(parts[0], num_layers + 1)
        assert layer_group(name, 'convnext', DEPTHS[num_layers], num_layers,
                           'stage_wise') == expected, name


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_every_arch_uses_each_group_once_num_layers_is_derived(arch):
    depths = ARCHITECTURES[arch]['depths']
    num_layers = check_num_layers(None, depths)
    groups = {layer_group(name, 'convnext', depths, num_layers)
              for name in parameter_names(depths)}
    assert groups == set(range(num_layers + 2))


def test_any_number_of_stages_is_grouped():
    depths = (1, 4, 2, 7, 3)
    assert needed_layers(depths) == 1 + 2 + 1 + 3 + 1
    groups = [layer_group(f'stages.{s}.{b}.gamma', 'convnext', depths, 8)
              for s, depth in enumerate(depths) for b in range(depth)]
    assert groups == [1, 2, 2, 2, 3, 4, 4, 5, 5, 5, 6, 6, 6, 7, 8, 8, 8]


def test_a_larger_num_layers_keeps_the_last_stage_next_to_the_heads():
    assert layer_group('stages.3.0.gamma', 'convnext', (3, 3, 9, 3), 12) == 12
    assert layer_group('stages.2.8.gamma', 'convnext', (3, 3, 9, 3), 12) == 5


def test_a_num_layers_too_small_for_the_depths_names_the_right_one():
    with pytest.raises(InputError, match=r'num_layers=6 .*\[3, 3, 27, 3\]; use 12'):
        check_num_layers(6, (3, 3, 27, 3))


@pytest.mark.parametrize('name, group', [
    ('patch_embed.projection.weight', 0), ('stages.0.blocks.1.attn.w_msa.qkv.weight', 1),
    ('stages.0.downsample.reduction.weight', 2), ('stages.1.blocks.0.norm1.weight', 2),
    ('stages.1.downsample.norm.weight', 3), ('stages.2.blocks.2.ffn.layers.1.weight', 3),
    ('stages.2.blocks.5.norm2.bias', 4), ('stages.2.downsample.norm.bias', 5),
    ('stages.3.blocks.1.norm1.weight', 5), ('norm3.weight', 6)])
def test_swin_is_grouped_by_the_same_rule(name, group):
    depths = (2, 2, 6, 2)
    assert layer_group(name, 'swin', depths, needed_layers(depths)) == group


@pytest.mark.parametrize('name, group', [
    ('conv1.weight', 0), ('bn1.bias', 0), ('layer1.0.downsample.0.weight', 1),
    ('layer1.2.conv3.weight', 1), ('layer2.3.conv1.weight', 3), ('layer3.5.bn2.weight', 5),
    ('layer4.0.downsample.1.bias', 6)])
def test_resnet_is_grouped_by_the_same_rule(name, group):
    depths = (3, 4, 6, 3)
    assert needed_layers(depths) == 6
    assert layer_group(name, 'resnet', depths, 6) == group


def test_the_scale_is_one_at_the_heads_and_falls_towards_the_stem():
    assert [layer_scale(group, 2, .5) for group in range(4)] == [.125, .25, .5, 1.]


@pytest.mark.parametrize('name, ndim, decayed', [
    ('backbone.stages.0.0.pwconv1.weight', 2, True), ('backbone.stages.0.0.gamma', 1, False),
    ('backbone.stages.0.0.grn.gamma', 4, False), ('backbone.stages.0.0.grn.beta', 4, False),
    ('neck.conv.bias', 1, False), ('neck.conv.weight', 4, True),
    ('backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table', 2, False),
    ('backbone.absolute_pos_embed', 3, False)])
def test_norms_biases_and_scales_get_no_weight_decay(name, ndim, decayed):
    assert has_weight_decay(name, ndim) == decayed


def test_the_rule_needs_no_torch():
    code = (f'import runpy, sys; runpy.run_path({layer_groups.__file__!r}); '
            'assert "torch" not in sys.modules, "torch was imported"')
    subprocess.run([sys.executable, '-c', code], check=True)
