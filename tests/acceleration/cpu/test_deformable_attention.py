"""Deformable attention as sums of table rows, against mmcv's."""
import copy
import math

import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch
from torch import nn

from convnext_dense.acceleration.cpu import deformable_attention
from convnext_dense.acceleration.cpu.deformable_attention import (
    DeformableAttention,
    weighted_samples,
)
from convnext_dense.acceleration.forms import give_form

SIZES = [(5, 7), (3, 4), (1, 2)]
EXTENTS = torch.tensor(SIZES).flip(1)[:, None]
CELLS = sum(height * width for height, width in SIZES)


def samples(dtype, images=2, heads=3, channels=4, queries=11, points=4):
    """Value, places (some of them outside) and weights."""
    torch.manual_seed(0)
    shape = images, queries, heads, len(SIZES), points
    tensors = (torch.randn(images, CELLS, heads, channels, dtype=dtype),
               torch.rand(*shape, 2, dtype=dtype) * 1.8 - .4, torch.rand(shape, dtype=dtype))
    return [tensor.requires_grad_() for tensor in tensors]


def results(function, tensors):
    output = function(*tensors)
    grad = torch.randn(output.shape, dtype=output.dtype, generator=torch.Generator().manual_seed(1))
    wanted = [tensor for tensor in tensors if tensor.requires_grad]
    return [output, *torch.autograd.grad(output, wanted, grad)]


@pytest.mark.parametrize('frozen', [None, 0, 1, 2])
@pytest.mark.parametrize('chunk', [2**16, 50], ids=['whole', 'chunks'])
@pytest.mark.parametrize('dtype, tolerance', [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_values_and_gradients_are_mmcvs(dtype, tolerance, chunk, frozen, monkeypatch):
    monkeypatch.setattr(deformable_attention, 'CHUNK', chunk)
    tensors = samples(dtype)
    if frozen is not None:
        tensors[frozen].requires_grad_(False)
    ours = results(lambda value, places, weights: weighted_samples(
        value, SIZES, places * EXTENTS, weights), tensors)
    theirs = results(lambda value, places, weights: multi_scale_deformable_attn_pytorch(
        value, torch.tensor(SIZES), places, weights), tensors)
    for found, expected in zip(ours, theirs, strict=True):
        assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def test_gradients_are_those_of_small_differences():
    value, places, weights = samples(torch.float64, 1, 2, 2, 3, 2)
    assert torch.autograd.gradcheck(
        lambda value, places, weights: weighted_samples(value, SIZES, places * EXTENTS, weights),
        (value, places, weights))


def test_a_place_that_is_no_number_gives_none_and_harms_no_other():
    value, places, weights = (tensor.detach() for tensor in samples(torch.float32))
    expected = weighted_samples(value, SIZES, places, weights)
    for wrong in (math.nan, math.inf, -math.inf, 1e30):
        spoilt = places.clone()
        spoilt[1, 4, 0, 1, 2, 0] = wrong
        found = weighted_samples(value, SIZES, spoilt, weights)
        assert bool(found[1, 4, :4].isnan().all()) == math.isnan(wrong)
        found[1, 4, :4] = expected[1, 4, :4]
        assert torch.equal(found, expected)


def layers(batch_first=True, **options):
    torch.manual_seed(0)
    theirs = MultiScaleDeformableAttention(
        embed_dims=32, num_heads=4, num_levels=len(SIZES), num_points=2, dropout=0.,
        batch_first=batch_first, **options)
    for parameter in theirs.parameters():  # mmcv's initial weights give no offsets
        nn.init.normal_(parameter, std=.3)
    ours = copy.deepcopy(theirs)
    assert give_form(ours, DeformableAttention) == 1
    return ours, theirs


def inputs(batch_first=True, corners=2, queries=9, padded=False):
    torch.manual_seed(1)
    order = (0, 1) if batch_first else (1, 0)
    query, position = (torch.randn(2, queries, 32).permute(*order, 2) for _ in range(2))
    value = torch.randn(2, CELLS, 32).permute(*order, 2)
    mask = None
    if padded:
        mask = torch.zeros(2, CELLS, dtype=torch.bool)
        mask[1, -5:] = True
    return dict(query=query.requires_grad_(), value=value.requires_grad_(), query_pos=position,
                key_padding_mask=mask, spatial_shapes=torch.tensor(SIZES),
                level_start_index=torch.tensor([0, 35, 47]), valid_ratios=torch.ones(2, 3, 2),
                reference_points=torch.rand(2, queries, len(SIZES), corners).requires_grad_())


def calls(monkeypatch):
    found, function = [], deformable_attention.weighted_samples
    monkeypatch.setattr(deformable_attention, 'weighted_samples',
                        lambda *args: found.append(args) or function(*args))
    return found


@pytest.mark.parametrize('options', [
    dict(), dict(batch_first=False), dict(corners=4), dict(padded=True)], ids=str)
def test_the_layer_equals_mmcvs(options, monkeypatch):
    found, both = calls(monkeypatch), []
    for layer in layers(options.get('batch_first', True)):
        arguments = inputs(**options)
        output = layer(**arguments)
        wanted = [tensor for tensor in arguments.values()
                  if torch.is_tensor(tensor) and tensor.requires_grad]
        both.append([output, *torch.autograd.grad(
            output.square().sum(), [*wanted, *layer.parameters()])])
    assert len(found) == 1
    for ours, theirs in zip(*both, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_what_it_is_not_for_goes_to_mmcv(monkeypatch):
    found = calls(monkeypatch)
    ours, theirs = layers()
    arguments = inputs()
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(ours(**arguments), theirs(**arguments))
    double = {name: value.double() if torch.is_tensor(value) and value.is_floating_point()
              else value for name, value in arguments.items()}
    assert torch.equal(copy.deepcopy(ours).double()(**double),
                       copy.deepcopy(theirs).double()(**double))
    assert not found
    monkeypatch.setattr(deformable_attention, 'MOST_ROWS', 4 * CELLS - 1)  # with 4 heads
    assert torch.equal(ours(**arguments), theirs(**arguments))
    assert not found
    monkeypatch.setattr(deformable_attention, 'MOST_ROWS', 4 * CELLS)
    ours(**arguments)
    assert found.pop()
    traced = torch.jit.is_tracing
    monkeypatch.setattr(torch.jit, 'is_tracing', lambda: True)
    assert torch.equal(ours(**arguments), theirs(**arguments))
    monkeypatch.setattr(torch.jit, 'is_tracing', traced)
    assert not found


def test_its_layers_may_be_wrapped_or_watched():
    ours, theirs = layers()
    seen = []
    for layer in (ours, theirs):
        layer.value_proj.register_forward_hook(lambda module, args, output: output * 2)
        layer.output_proj.register_forward_hook(lambda *args: seen.append(args))
    torch.testing.assert_close(ours(**inputs()), theirs(**inputs()), rtol=1e-5, atol=1e-5)
    assert len(seen) == 2


def test_it_may_be_computed_again_in_the_backward_pass():
    from torch.utils.checkpoint import checkpoint
    grads = []
    for layer in layers():
        arguments = inputs()
        output = checkpoint(lambda: layer(**arguments), use_reentrant=False)  # noqa: B023
        grads.append(torch.autograd.grad(output.square().sum(), list(layer.parameters())))
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('mode', ['train', 'infer'])
def test_a_prepared_encoder_gives_the_same_values(mode):
    from mmdet.models.layers import DeformableDetrTransformerEncoder

    from convnext_dense.acceleration import prepare
    torch.manual_seed(0)
    encoder = DeformableDetrTransformerEncoder(2, dict(
        self_attn_cfg=dict(embed_dims=32, num_heads=4, num_levels=len(SIZES), dropout=0.),
        ffn_cfg=dict(embed_dims=32, feedforward_channels=48, ffn_drop=0.)))
    ready = copy.deepcopy(encoder)
    done = prepare(ready, mode)
    assert {'2 feed-forward networks', '2 deformable attentions'} <= set(done)
    arguments = inputs(queries=CELLS, padded=True)
    arguments = {name: value for name, value in arguments.items()
                 if name not in ('value', 'reference_points')}
    ours, theirs = ready(**arguments), encoder(**arguments)
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
