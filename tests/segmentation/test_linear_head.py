"""The linear probe's head: dropout of channels, a norm, one layer."""
import pytest
import torch
import torch.nn.functional as F

from convnext_dense.segmentation import LinearHead

MAPS = tuple(torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(channels))
             for channels, size in ((4, 8), (6, 4)))


def head(**settings):
    torch.manual_seed(0)
    return LinearHead(**dict(dict(num_classes=3, norm_cfg=dict(type='BN'), align_corners=False),
                             **settings))


@pytest.mark.parametrize('training', [True, False])
def test_it_is_a_norm_and_a_linear_layer_of_the_last_map(training):
    ours = head(in_channels=6, dropout_ratio=0.).train(training)
    norm, layer = ours.norm, ours.conv_seg
    x = F.batch_norm(MAPS[1], norm.running_mean.clone(), norm.running_var.clone(), norm.weight,
                     norm.bias, training)
    expected = F.conv2d(x, layer.weight, layer.bias)
    assert torch.equal(ours(MAPS), expected) and expected.shape == (2, 3, 4, 4)


def test_several_maps_are_stacked_in_the_size_of_the_first():
    ours = head(in_channels=[4, 6], in_index=[0, 1], dropout_ratio=0.).eval()
    enlarged = F.interpolate(MAPS[1], (8, 8), mode='bilinear', align_corners=False)
    x = ours.norm(torch.cat([MAPS[0], enlarged], 1))
    assert torch.equal(ours(MAPS), F.conv2d(x, ours.conv_seg.weight, ours.conv_seg.bias))


def test_whole_channels_are_dropped_before_the_norm():
    ours = head(in_channels=6, dropout_ratio=.5).train()
    seen = []
    ours.norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    ours(MAPS)
    dropped = (seen[0] == 0).flatten(2)
    assert torch.equal(dropped.all(2), dropped.any(2)) and 0 < dropped.all(2).sum() < 12


def test_it_has_no_other_parameters():
    assert [name for name, _ in head(in_channels=6).named_parameters()] == [
        'conv_seg.weight', 'conv_seg.bias', 'norm.weight', 'norm.bias']
