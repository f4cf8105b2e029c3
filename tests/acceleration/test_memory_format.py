"""mmcv's operators take every map for one that lies channels first: they get such maps."""
import copy

import mmcv.ops
import pytest
import torch
from torch import nn

from convnext_dense.acceleration import Acceleration, prepare


class Model(nn.Module):
    """A convolution, whose map takes the layout of its weight, and an operator."""

    def __init__(self, operator):
        super().__init__()
        self.conv, self.operator = nn.Conv2d(3, 8, 3, padding=1), operator

    def forward(self, x):
        x = self.conv(x)
        if isinstance(self.operator, mmcv.ops.RoIAlign):
            return self.operator(x, torch.tensor([[0, 1., 2, 30, 40], [1, 5, 5, 50, 50]]))
        if type(self.operator) is mmcv.ops.DeformConv2d:
            return self.operator(x, offset=x[:, :2].repeat(1, 9, 1, 1))
        return self.operator(x)


OPERATORS = dict(
    roi_align=lambda: mmcv.ops.RoIAlign(7, .25, 2),
    roi_max=lambda: mmcv.ops.RoIAlign(7, .25, 2, 'max'),
    dcn=lambda: mmcv.ops.DeformConv2d(8, 4, 3, padding=1),
    dcn_pack=lambda: mmcv.ops.DeformConv2dPack(8, 4, 3, padding=1),
    dcn_v2_pack=lambda: mmcv.ops.ModulatedDeformConv2dPack(8, 4, 3, padding=1))


@pytest.mark.parametrize('mode', ['train', 'infer'])
@pytest.mark.parametrize('name', OPERATORS)
def test_operators_give_the_same_in_channels_last(name, mode):
    torch.manual_seed(0)
    model = Model(OPERATORS[name]())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, .2)
    x = torch.randn(2, 3, 16, 18)
    ours = copy.deepcopy(model)
    for _ in range(2):  # preparing again changes nothing
        prepare(ours, mode, settings=Acceleration())
    assert ours.conv(x).is_contiguous(memory_format=torch.channels_last)
    expected, found = model(x), ours(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    if mode == 'infer':
        return
    weights = torch.randn(expected.shape)
    for result in (expected, found):
        (result * weights).sum().backward()
    for one, other in zip(ours.parameters(), model.parameters()):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-3)


def test_a_stock_extractor_gives_the_same_features():
    """mmdet's own extractor behind a backbone whose maps lie channels last."""
    from mmdet.utils import register_all_modules
    from mmengine.registry import MODELS
    register_all_modules(False)
    extractor = MODELS.build(dict(
        type='mmdet.SingleRoIExtractor', out_channels=8, featmap_strides=[4, 8],
        roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0)))
    maps = [torch.randn(1, 8, side, side) for side in (16, 8)]
    rois = torch.tensor([[0, 1., 2, 30, 40], [0, 5, 5, 60, 62]])
    expected = extractor(maps, rois)
    prepare(extractor, 'train')
    found = extractor([x.to(memory_format=torch.channels_last) for x in maps], rois)
    torch.testing.assert_close(found, expected)
