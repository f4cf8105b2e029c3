"""Feed-forward networks in chunks, against mmcv's."""
import copy

import pytest
import torch
from mmcv.cnn.bricks.transformer import FFN
from torch import nn

from convnext_dense.acceleration.cpu import feed_forward
from convnext_dense.acceleration.cpu.feed_forward import ChunkedFFN
from convnext_dense.acceleration.forms import give_form


def pair(**options):
    torch.manual_seed(0)
    theirs = FFN(embed_dims=16, feedforward_channels=40, **options).eval()
    ours = copy.deepcopy(theirs)
    give_form(ours, ChunkedFFN, ChunkedFFN.fits)
    return ours, theirs


def applied(monkeypatch):
    calls, function = [], feed_forward.linear_relu
    monkeypatch.setattr(feed_forward, 'linear_relu',
                        lambda *args: calls.append(args) or function(*args))
    return calls


def inputs():
    torch.manual_seed(1)
    return torch.randn(2, 3, 33, 16).transpose(1, 2), torch.randn(2, 33, 3, 16)


@pytest.mark.parametrize('part', [2**20, 400], ids=['whole', 'chunks'])
@pytest.mark.parametrize('count', [1, 2], ids=['x', 'x and identity'])
def test_values_and_gradients_are_mmcvs(count, part, monkeypatch):
    monkeypatch.setattr('convnext_dense.chunks.CHUNK_VALUES', part)
    calls, results = applied(monkeypatch), []
    for ffn in pair():
        tensors = [tensor.requires_grad_() for tensor in inputs()[:count]]
        output = ffn(*tensors)
        results.append([output, *torch.autograd.grad(
            (output * torch.arange(16.)).sum(), [*tensors, *ffn.parameters()])])
    assert len(calls) == (1 if part == 2**20 else 20)
    for ours, theirs in zip(*results, strict=True):
        assert (ours - theirs).abs().max() <= 2e-6 * theirs.abs().max()


@torch.inference_mode()
def test_values_without_gradients_are_mmcvs():
    ours, theirs = pair(ffn_drop=.5)
    x, identity = inputs()
    before = x.clone()
    for arguments in ((x, ), (x, identity)):
        torch.testing.assert_close(ours(*arguments), theirs(*arguments), rtol=1e-5, atol=1e-5)
    assert torch.equal(x, before)


def test_frozen_layers_get_no_gradient():
    ours, _ = pair()
    ours.requires_grad_(False)
    x = inputs()[0].requires_grad_()
    ours(x).sum().backward()
    assert x.grad is not None and all(parameter.grad is None for parameter in ours.parameters())


def test_gradients_are_those_of_small_differences():
    torch.manual_seed(0)
    tensors = [torch.randn(*shape, dtype=torch.double, requires_grad=True)
               for shape in ((5, 3), (5, 3), (7, 3), (7, ), (3, 7), (3, ))]
    assert torch.autograd.gradcheck(
        lambda *tensors: feed_forward._FeedForward.apply(*tensors, True), tensors)


@pytest.mark.parametrize('options', [
    dict(num_fcs=3), dict(act_cfg=dict(type='GELU')), dict(add_identity=False),
    dict(layer_scale_init_value=1.), dict(dropout_layer=dict(type='DropPath', drop_prob=.5))],
    ids=str)
def test_others_have_no_form(options):
    assert type(pair(**options)[0]) is FFN


def test_what_it_is_not_for_goes_to_mmcv(monkeypatch):
    calls = applied(monkeypatch)
    ours, theirs = pair(ffn_drop=.5)
    assert type(ours) is ChunkedFFN
    x = torch.randn(4, 16)
    with torch.autocast('cpu', torch.bfloat16), torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
    for layer in (ours, theirs):
        torch.manual_seed(0)
        layer.result = layer.train()(x)
    assert torch.equal(ours.result, theirs.result)
    with torch.no_grad():
        ours.eval().layers[1].register_forward_hook(lambda *args: torch.zeros(4, 16))
        assert torch.equal(ours(x), x)
        ours.layers[1] = nn.Sequential(theirs.layers[1])  # as a wrapped layer
        theirs.eval()
        assert torch.equal(ours(x), theirs(x))
    assert not calls
