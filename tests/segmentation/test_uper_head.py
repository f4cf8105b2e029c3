"""UPerHead gives the values of mmseg's, whatever the sizes of its maps."""
import copy

import pytest
import torch
import torch.nn.functional as F

from convnext_dense.acceleration import prepare
from convnext_dense.registry import MODELS

CHANNELS = [8, 12, 16, 20]


@pytest.fixture(scope='module', autouse=True)
def mmseg():
    import mmseg.models  # noqa: F401


def heads(align_corners=False, channels=16, norm_cfg=dict(type='BN')):
    built = []
    for scope in ('convnext_dense', 'mmseg'):
        torch.manual_seed(0)
        head = MODELS.build(dict(
            type=f'{scope}.UPerHead', in_channels=CHANNELS, in_index=[0, 1, 2, 3],
            channels=channels, num_classes=5, norm_cfg=norm_cfg, align_corners=align_corners))
        for module in head.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, .1)
                module.running_var.uniform_(.5, 2)
        built.append(head.eval())
    return built


def maps(height, width, images=2):
    torch.manual_seed(1)
    return [torch.randn(images, channels, -(-height // 2**level), -(-width // 2**level))
            for level, channels in enumerate(CHANNELS)]


def assert_same(ours, theirs):
    assert float((ours - theirs).detach().abs().max()) <= 2e-5 * float(theirs.detach().abs().max())


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', [(32, 48), (33, 47), (8, 8), (5, 70)])
@pytest.mark.parametrize('norm_cfg', [dict(type='BN'), None], ids=['norm', 'no norm'])
@torch.no_grad()
def test_logits_equal_mmseg(size, align_corners, norm_cfg):
    ours, theirs = heads(align_corners, norm_cfg=norm_cfg)
    assert_same(ours(maps(*size)), theirs(maps(*size)))


@torch.no_grad()
def test_prepared_head_equals_mmseg():
    ours, theirs = heads(channels=64)
    prepare(ours)
    assert_same(ours(maps(48, 64)), theirs(maps(48, 64)))


@torch.no_grad()
def test_new_weights_count():
    ours, theirs = heads()
    ours(maps(32, 48))
    for head in (ours, theirs):
        head.fpn_bottleneck.conv.weight.mul_(-1)
    assert_same(ours(maps(32, 48)), theirs(maps(32, 48)))


def test_training_and_state_are_mmsegs():
    ours, theirs = heads()
    with torch.no_grad():
        ours(maps(32, 48))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for head in (ours.train(), theirs.train()):
        head.dropout = None
        head(maps(32, 48)).square().mean().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters()):
        assert_same(mine.grad, other.grad)
    for head in (ours, theirs):
        head.eval()
    assert_same(copy.deepcopy(ours)(maps(32, 48)), theirs(maps(32, 48)))


def test_operations_are_those_of_mmsegs():
    """Multiply-adds are counted on shapes alone, as the papers do."""
    from torch.utils.flop_counter import FlopCounterMode
    counts = []
    for head in heads():
        with FlopCounterMode(display=False) as counter:
            head.to('meta')([x.to('meta') for x in maps(32, 48)])
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1]


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('shape, size', [((4, 6), (16, 24)), ((3, 5), (25, 38)), ((1, 1), (7, 2))])
def test_convolution_of_an_enlarged_map(shape, size, align_corners):
    from convnext_dense.segmentation.uper_head import convolve_enlarged
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, *shape).double(), torch.randn(4, 3, 3, 3).double()
    enlarged = F.interpolate(x, size, mode='bilinear', align_corners=align_corners)
    torch.testing.assert_close(convolve_enlarged(x, weight, size, align_corners),
                               F.conv2d(enlarged, weight, padding=1))
