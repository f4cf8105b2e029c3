"""RoIAlign gives mmcv's values and gradients, on every kind of RoI."""
import mmcv.ops
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import convnext_dense.detection.roi_align as roi_align_module
from convnext_dense.detection import RoIAlign

SIZES = [(7, 0, True), (14, 0, True), (7, 2, True), ((3, 5), 0, False), (7, 2, False)]


def random_rois(number, images, height, width, largest):
    """RoIs of every size around an image, many of them partly outside."""
    centres = torch.rand(number, 2) * torch.tensor([width, height])
    sides = torch.rand(number, 2) ** 3 * largest
    index = torch.randint(0, images, (number, 1)).float()
    return torch.cat([index, centres - sides / 2, centres + sides / 2], dim=1)


def run(layer, maps, rois, grad=None):
    maps = maps.detach().clone().requires_grad_()
    features = layer(maps, rois)
    grad = torch.ones_like(features) if grad is None else grad
    features.backward(grad)
    return features.detach(), maps.grad


def assert_equals_mmcv(maps, rois, *args):
    ours, theirs = RoIAlign(*args), mmcv.ops.RoIAlign(*args)
    shape = (len(rois), maps.shape[1], *theirs.output_size)
    grad = torch.randn(shape, dtype=maps.dtype)
    features, grad_maps = run(ours, maps, rois, grad)
    expected, expected_grad = run(theirs, maps.contiguous(), rois, grad)
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-6)
    # Sums of many terms of both signs: the tolerance is relative to the largest one.
    scale = float(expected_grad.abs().max().clamp(min=1)) if expected_grad.numel() else 1.
    torch.testing.assert_close(grad_maps / scale, expected_grad / scale, rtol=1e-5, atol=1e-6)
    return features


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('size, sampling_ratio, aligned', SIZES)
def test_values_and_gradients_equal_mmcv(size, sampling_ratio, aligned, memory_format):
    torch.manual_seed(0)
    maps = torch.randn(2, 8, 20, 30).to(memory_format=memory_format)
    assert_equals_mmcv(maps, random_rois(40, 2, 80, 120, 150),
                       size, 0.25, sampling_ratio, 'avg', aligned)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_maps_that_mmcv_computes_may_have_any_layout_and_16_bits(dtype):
    torch.manual_seed(0)
    maps, rois = torch.randn(2, 8, 20, 30).to(dtype), random_rois(40, 2, 80, 120, 150)
    expected = mmcv.ops.RoIAlign(7, 0.25, 0, 'max')(maps.float(), rois)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        features = RoIAlign(7, 0.25, 0, 'max')(maps.to(memory_format=memory_format), rois)
        assert features.dtype == dtype and torch.equal(features, expected.to(dtype))


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 1, 3])
@pytest.mark.parametrize('box', [
    (8., 8., 12., 12.), (4., 4., 4., 4.), (0., 0., 1e-3, 30.),        # one pixel, a point, a line
    (-4000., -4000., -3900., -3900.), (400., 20., 500., 40.),          # outside
    (-4., -4., 10., 10.), (-2., -2., -2., -2.), (40., 40., 40., 40.),  # across and on the border
    (-30., -30., 80., 80.), (-150., 0., 150., 40.)],                   # larger than the map
    ids=str)
def test_edge_cases_equal_mmcv(box, sampling_ratio, aligned):
    torch.manual_seed(0)
    maps = torch.randn(1, 3, 10, 10)
    assert_equals_mmcv(maps, torch.tensor([[0., *box]]), 7, 0.25, sampling_ratio, 'avg', aligned)


def test_rois_far_larger_than_the_map_equal_mmcv():
    maps = torch.randn(1, 1, 4, 4)
    assert_equals_mmcv(maps, torch.tensor([[0., -900., -900., 900., 900.]]), 2, 1., 0, 'avg', True)


@pytest.mark.parametrize('shape', [(1, 4, 1, 1), (1, 4, 1, 9), (3, 4, 9, 1)])
def test_maps_of_one_pixel_a_side_equal_mmcv(shape):
    torch.manual_seed(0)
    rois = random_rois(20, shape[0], shape[2] + 1, shape[3] + 1, 12)
    assert_equals_mmcv(torch.randn(shape), rois, 3, 1., 0, 'avg', True)


def test_float64_equals_mmcv():
    torch.manual_seed(0)
    rois = random_rois(10, 1, 12, 12, 20).double()
    assert_equals_mmcv(torch.randn(1, 4, 12, 12).double(), rois, 7, 1., 0, 'avg', True)


def test_max_pooling_equals_mmcv():
    torch.manual_seed(0)
    assert_equals_mmcv(torch.randn(1, 4, 12, 12), random_rois(10, 1, 12, 12, 20),
                       7, 1., 2, 'max', True)


def test_no_roi_gives_no_feature_and_a_zero_gradient():
    features, grad = run(RoIAlign(7, 0.25), torch.randn(2, 3, 8, 8), torch.zeros(0, 5))
    assert features.shape == (0, 3, 7, 7)
    assert torch.equal(grad, torch.zeros(2, 3, 8, 8))


def test_bfloat16_is_computed_in_float32():
    torch.manual_seed(0)
    maps, rois = torch.randn(1, 4, 12, 12).bfloat16(), random_rois(10, 1, 12, 12, 20)
    features = RoIAlign(7)(maps, rois)
    assert features.dtype == torch.bfloat16
    assert torch.equal(features, RoIAlign(7)(maps.float(), rois).bfloat16())


def test_negative_extent_is_an_error_as_in_mmcv():
    with pytest.raises(RuntimeError, match='ROI'):
        RoIAlign(7)(torch.randn(1, 4, 12, 12), torch.tensor([[0., 8., 8., 4., 4.]]))


def test_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    rois = random_rois(4, 2, 5, 6, 9).double()
    maps = torch.randn(2, 2, 5, 6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: RoIAlign((2, 3))(x, rois), maps)


def test_average_does_not_reach_mmcv_on_a_cpu(monkeypatch):
    def refuse(*args):
        raise AssertionError('mmcv was called')
    monkeypatch.setattr(roi_align_module.mmcv.ops.RoIAlign, 'forward', refuse)
    assert RoIAlign(7)(torch.randn(1, 4, 12, 12), torch.tensor([[0., 1., 1., 5., 5.]])).any()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_rois_on_any_map_equal_mmcv(data):
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    seed = data.draw(st.integers(0, 2**16))
    torch.manual_seed(seed)
    rois = random_rois(data.draw(st.integers(0, 6)), 2, height, width, 30)
    if data.draw(st.booleans()):
        rois = rois.round()
        rois[:, 0] = rois[:, 0].clamp(0, 1)
    # in float64: in float32 the rounding of a sample's place alone can exceed the tolerance
    assert_equals_mmcv(torch.randn(2, 2, height, width).double(), rois.double(),
                       data.draw(st.sampled_from([1, 2, 7])),
                       data.draw(st.sampled_from([1., 0.5, 0.25])),
                       data.draw(st.integers(0, 3)), 'avg', data.draw(st.booleans()))
