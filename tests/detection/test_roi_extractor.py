"""SingleRoIExtractor gives mmdet's values, levels and gradients."""
import pytest
import torch

from convnext_dense.detection import RoIAlign
from convnext_dense.errors import InputError
from convnext_dense.registry import MODELS

STRIDES = [4, 8, 16, 32]


def config(scope, **changes):
    return dict(type=f'{scope}.SingleRoIExtractor', out_channels=6, featmap_strides=STRIDES,
                roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0), **changes)


@pytest.fixture(scope='module')
def extractors():
    import mmdet.models  # noqa: F401
    return MODELS.build(config('convnext_dense')), MODELS.build(config('mmdet'))


def pyramid(strides=STRIDES):
    torch.manual_seed(0)
    return [torch.randn(2, 6, 256 // stride, 320 // stride).requires_grad_() for stride in strides]


def rois(number):
    torch.manual_seed(1)
    centres = torch.rand(number, 2) * torch.tensor([320., 256.])
    halves = torch.exp(torch.rand(number, 2) * 5) / 2 + 1
    index = torch.randint(0, 2, (number, 1)).float()
    return torch.cat([index, centres - halves, centres + halves], dim=1)


# Without RoIs and with one level mmdet drops the graph, so that case has a test of its own.
@pytest.mark.parametrize('number, levels', [(0, 4), (1, 1), (1, 4), (50, 1), (50, 4)])
@pytest.mark.parametrize('scale_factor', [None, 1.3])
def test_features_and_gradients_equal_mmdet(extractors, number, levels, scale_factor):
    results = []
    for extractor in extractors:
        maps = pyramid(STRIDES[:levels])
        # mmdet scales no RoI where there is one level; ours means the same with any number.
        factor = scale_factor if levels > 1 else None
        features = extractor(maps, rois(number), roi_scale_factor=factor)
        (features * torch.arange(49.).view(7, 7)).sum().backward()
        results.append((features, *(x.grad for x in maps)))
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4 if ours.dim() else 0)


def test_every_level_gets_a_gradient_where_its_rois_are_none(extractors):
    maps = pyramid()
    extractors[0](maps, torch.tensor([[0., 4., 4., 30., 30.]])).sum().backward()
    assert maps[0].grad.any()
    assert all(x.grad is not None and not x.grad.any() for x in maps[1:])


def test_no_roi_on_one_level_leaves_a_zero_gradient(extractors):
    maps = pyramid(STRIDES[:1])
    features = extractors[0](maps, rois(0))
    features.sum().backward()
    assert features.shape == (0, 6, 7, 7) and not maps[0].grad.any()


def test_levels_equal_mmdet(extractors):
    sides = torch.tensor([0., 1., 55.9, 56., 111.9, 112., 223.9, 224., 447., 448., 1e5])
    boxes = torch.stack([sides * 0, sides * 0, sides * 0, sides, sides], dim=1)
    ours, theirs = (extractor.map_roi_levels(boxes, 4) for extractor in extractors)
    assert torch.equal(ours, theirs)


def test_heads_find_what_they_ask_for(extractors):
    ours, theirs = extractors
    assert ours.num_inputs == theirs.num_inputs == 4
    assert ours.featmap_strides == theirs.featmap_strides
    assert ours.finest_scale == theirs.finest_scale
    assert [layer.spatial_scale for layer in ours.roi_layers] == [1 / 4, 1 / 8, 1 / 16, 1 / 32]


@pytest.mark.parametrize('name', ['RoIAlign', 'convnext_dense.RoIAlign', RoIAlign])
def test_roi_layer_names(name):
    cfg = config('convnext_dense')
    cfg['roi_layer']['type'] = name
    assert all(isinstance(layer, RoIAlign) for layer in MODELS.build(cfg).roi_layers)


def test_other_roi_layers_are_refused():
    cfg = config('convnext_dense')
    cfg['roi_layer']['type'] = 'RoIPool'
    with pytest.raises(InputError, match="RoIPool.*mmdet.SingleRoIExtractor"):
        MODELS.build(cfg)


def test_mmdet_extractors_take_the_layer(extractors):
    cfg = config('mmdet')
    cfg['roi_layer']['type'] = RoIAlign
    maps, boxes = pyramid(), rois(20)
    torch.testing.assert_close(MODELS.build(cfg)(maps, boxes), extractors[1](maps, boxes),
                               rtol=1e-5, atol=1e-6)
