"""PatchConv2d against torch's own convolution."""
import copy

import pytest
import torch
from torch import nn

from convnext_dense.acceleration.cpu import patch_conv
from convnext_dense.acceleration.cpu.patch_conv import PatchConv2d
from convnext_dense.acceleration.forms import give_form


def pair(patch_size):
    torch.manual_seed(0)
    theirs = nn.Conv2d(5, 7, patch_size, patch_size)
    return form(theirs), theirs


def form(conv):
    """The form of a copy of a convolution."""
    conv = copy.deepcopy(conv)
    assert give_form(conv, PatchConv2d, PatchConv2d.fits) == 1
    return conv


def applied(monkeypatch):
    calls = []
    apply = patch_conv._PatchConvolution.apply
    monkeypatch.setattr(patch_conv._PatchConvolution, 'apply',
                        lambda *args: calls.append(args) or apply(*args))
    return calls


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('frozen', [None, 'x', 'weight', 'bias'])
@pytest.mark.parametrize('patch_size, size', [(2, (8, 6)), (4, (4, 12)), (1, (3, 5))])
def test_values_and_gradients(patch_size, size, frozen, memory_format, monkeypatch):
    calls, results = applied(monkeypatch), []
    for conv in pair(patch_size):
        conv.to(memory_format=memory_format)
        x = torch.randn(3, 5, *size, generator=torch.Generator().manual_seed(1))
        tensors = dict(x=x.to(memory_format=memory_format), **dict(conv.named_parameters()))
        for name, tensor in tensors.items():
            tensor.requires_grad_(name != frozen)
        y = conv(tensors['x'])
        wanted = [tensor for tensor in tensors.values() if tensor.requires_grad]
        results.append([y, *torch.autograd.grad((y * torch.arange(7.).view(7, 1, 1)).sum(),
                                                wanted)])
    assert len(calls) == 1
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_without_gradients_it_rounds_no_more_than_torch():
    torch.manual_seed(0)
    theirs = nn.Conv2d(192, 384, 2, 2)
    ours = form(theirs)
    x = torch.randn(1, 192, 32, 32).to(memory_format=torch.channels_last)
    results = [conv.to(memory_format=torch.channels_last)(x) for conv in (ours, theirs)]
    expected = theirs.double()(x.double())
    errors = [float((result - expected).square().mean()) for result in results]
    assert errors[0] <= 1.1 * errors[1]


def test_gradients_are_those_of_small_differences():
    torch.manual_seed(0)
    tensors = [torch.randn(*shape, dtype=torch.double, requires_grad=True)
               for shape in ((2, 3, 4, 6), (5, 3, 2, 2), (5, ))]
    assert torch.autograd.gradcheck(patch_conv._PatchConvolution.apply, tensors)


def test_what_it_is_not_for_goes_to_torch(monkeypatch):
    calls = applied(monkeypatch)
    ours, theirs = pair(2)
    for x in (torch.randn(2, 5, 7, 8), torch.randn(0, 5, 8, 8)):  # a pixel left over, no image
        assert torch.equal(ours(x), theirs(x))
    x = torch.randn(2, 5, 8, 8)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(ours(x), theirs(x))
    compiled = torch.compile(ours, backend='eager', fullgraph=True)
    assert torch.equal(compiled(x), theirs(x))
    assert torch.equal(ours.double()(x.double()), theirs.double()(x.double()))
    assert not calls
