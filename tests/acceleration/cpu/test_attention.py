"""Attention without weights, against mmcv's layer."""
import copy

import pytest
import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention
from torch import nn

from convnext_dense.acceleration.cpu.attention import AttentionWithoutWeights, drop_weights
from convnext_dense.acceleration.forms import remove_forms


def layers(**options):
    torch.manual_seed(0)
    theirs = MultiheadAttention(32, 4, batch_first=True, **options)
    ours = copy.deepcopy(theirs)
    assert drop_weights(ours) == 1 and type(ours.attn) is AttentionWithoutWeights
    return ours, theirs


def weights_asked_for(monkeypatch):
    asked, forward = [], nn.MultiheadAttention.forward
    monkeypatch.setattr(nn.MultiheadAttention, 'forward', lambda *args, **kwargs: asked.append(
        args[5] if len(args) > 5 else True) or forward(*args, **kwargs))
    return asked


def masks():
    per_query = torch.rand(7, 5) < .4
    per_query[:, 0] = False  # a query that may look at nothing gives nan in both
    per_head = torch.rand(8, 7, 5) < .4
    per_head[..., 1] = False
    padding = torch.tensor([[False] * 5, [False, False, False, True, True]])
    return dict(none={}, query=dict(attn_mask=per_query), head=dict(attn_mask=per_head),
                padding=dict(key_padding_mask=padding))


@pytest.mark.parametrize('mask', ['none', 'query', 'head', 'padding'])
def test_values_and_gradients_are_mmcvs(mask, monkeypatch):
    asked, both = weights_asked_for(monkeypatch), []
    for layer in layers():
        torch.manual_seed(1)
        query, key, position = torch.randn(2, 7, 32), torch.randn(2, 5, 32), torch.randn(2, 5, 32)
        tensors = [query.requires_grad_(), key.requires_grad_(), *layer.parameters()]
        output = layer(query, key, key, key_pos=position, **masks()[mask])
        both.append([output, *torch.autograd.grad(output.square().sum(), tensors)])
    assert asked == [False, True]
    for ours, theirs in zip(*both, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_dropout_hooks_and_autocast_get_torchs_way(monkeypatch):
    ours, theirs = layers(attn_drop=.5)
    x = torch.randn(2, 7, 32)
    asked = weights_asked_for(monkeypatch)
    for layer in (ours, theirs):
        torch.manual_seed(2)
        layer.result = layer(x)
    assert torch.equal(ours.result, theirs.result) and asked == [True, True]
    ours.eval()(x)
    assert asked[2:] == [False]
    seen = []
    ours.attn.register_forward_hook(lambda module, args, output: seen.append(output[1]))
    ours(x)
    assert seen[0].shape == (2, 7, 7)
    ours, _ = layers()
    with torch.autocast('cpu', torch.bfloat16):
        ours(x)
    assert asked[4:] == [True]


def test_only_attention_whose_weights_are_dropped_has_the_form():
    model = nn.ModuleList([nn.MultiheadAttention(32, 4), layers()[0]])
    assert drop_weights(model) == 0  # the one has its form already
    remove_forms(model)
    assert drop_weights(model) == 1 and type(model[0]) is nn.MultiheadAttention
