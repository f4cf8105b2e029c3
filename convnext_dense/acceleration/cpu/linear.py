"""Linear layers of maps on a CPU, without gradients of their own, by oneDNN.

torch computes them with MKL, which takes a tenth longer on the machines measured; GELU or a sum
after the layer costs oneDNN no pass over memory. The operators are those that ``torch.compile``
puts into its code. Where a build of torch lacks them, and for other types than float32, torch's
own layers are taken.
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from convnext_dense.private.torch import linear_operator

ONEDNN = linear_operator()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear layer: (..., I) by weights (O, I) and a bias (O, ) to (..., O)."""
    if not _by_onednn(x):
        return F.linear(x, weight, bias)
    return ONEDNN.default(x, weight, bias, 'none', [], '')


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """GELU of :func:`linear`."""
    if not _by_onednn(x):
        return torch.ops.aten.gelu_(F.linear(x, weight, bias))
    return ONEDNN.default(x, weight, bias, 'gelu', [], 'none')


def linear_relu(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """ReLU of :func:`linear`."""
    if not _by_onednn(x):
        return F.linear(x, weight, bias).relu_()
    return ONEDNN.default(x, weight, bias, 'relu', [], '')


def linear_add(x: Tensor, weight: Tensor, bias: Tensor | None, other: Tensor) -> Tensor:
    """:func:`linear` of (rows, I) plus ``other``, of shape (rows, O)."""
    if not _by_onednn(x):
        return F.linear(x, weight, bias).add_(other)
    return ONEDNN.binary(x, other, weight, bias, 'add')


def product(a: Tensor, b: Tensor) -> Tensor:
    """The product of matrices (M, K) and (K, N); with few rows oneDNN takes half of MKL's time."""
    return linear(a, b.T)


def product_relu(a: Tensor, b: Tensor) -> Tensor:
    """ReLU of :func:`product`."""
    return linear_relu(a, b.T, None)


def _by_onednn(x):
    return ONEDNN is not None and x.dtype == torch.float32


if ONEDNN is not None:
    @register_flop_formula(ONEDNN)
    def _operations(x, second, third, *_args, **_kwargs):
        """Of shapes (x, weight, bias) or (x, other, weight)."""
        weight = second if third is None or len(third) == 1 else third
        return 2 * math.prod(x) * weight[0]
