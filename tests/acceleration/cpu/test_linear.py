"""Linear layers by oneDNN against torch's, with and without oneDNN."""
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from convnext_dense.acceleration.cpu import linear as layers


@pytest.fixture(params=['oneDNN', 'torch'])
def backend(request, monkeypatch):
    if request.param == 'torch':
        monkeypatch.setattr(layers, 'ONEDNN', None)
    elif layers.ONEDNN is None:
        pytest.skip('torch was built without oneDNN')


@pytest.mark.parametrize('rows', [0, 1, 70])
@pytest.mark.parametrize('transposed', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_equals_torch(backend, rows, transposed, dtype):
    torch.manual_seed(0)
    x, other = torch.randn(rows, 24, dtype=dtype), torch.randn(rows, 40, dtype=dtype)
    weight = torch.randn(40, 24, dtype=dtype)
    if transposed:
        weight = weight.T.contiguous().T
    bias = torch.randn(40, dtype=dtype)
    expected, before = F.linear(x, weight, bias), [t.clone() for t in (x, other, weight, bias)]
    for found, same in (
            (layers.linear(x, weight), expected - bias),
            (layers.linear(x, weight, bias), expected),
            (layers.linear(x[None], weight, bias), expected[None]),
            (layers.linear_gelu(x, weight, bias), F.gelu(expected)),
            (layers.linear_add(x, weight, bias, other), expected + other)):
        torch.testing.assert_close(found, same, rtol=1e-5, atol=2e-5)
    for tensor, same in zip((x, other, weight, bias), before):
        assert tensor.equal(same)


def test_operations_are_counted(backend):
    x, weight, bias = torch.randn(70, 24), torch.randn(40, 24), torch.randn(40)
    for call in (lambda: layers.linear(x, weight), lambda: layers.linear(x, weight, bias),
                 lambda: layers.linear_gelu(x, weight, bias),
                 lambda: layers.linear_add(x, weight, bias, torch.randn(70, 40))):
        with FlopCounterMode(display=False) as counter:
            call()
        assert counter.get_total_flops() == 2 * 70 * 24 * 40
