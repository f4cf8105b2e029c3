"""3x3 convolutions of large maps with a quarter of the multiplications, on CPUs.

Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308) computes a tile of 4x4
outputs from 6x6 inputs with 36 instead of 144 multiplications a channel pair. The interpolation
points 0, 1, -1, 1/2, -2 and infinity (Barabasz et al., arXiv 1803.10986) keep the rounding error at
about 5 times that of the direct sum, a third of that of the usual points.
"""
import math
from fractions import Fraction
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from convnext_dense.acceleration.cpu.linear import product
from convnext_dense.acceleration.forms import Form
from convnext_dense.plain_layers import in_float32_on_cpu

POINTS = (0, 1, -1, Fraction(1, 2), -2)
TILE, WINDOW, TAPS = 4, 6, 3
#: tiles transformed at a time; their buffers stay in the cache
CHUNK = 128
#: channels from which on Winograd takes less time than oneDNN for outputs and inputs' gradient; for
#: the filters' gradient it does from 64 on
MANY_CHANNELS = 128


@cache
def transforms(tile: int = TILE) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices of the one-dimensional F(tile, 3) with the first ``tile + 1`` points and infinity.

    A tile of fewer outputs leaves the last points out, and their rows and columns are zero. The
    filters' matrix is the same for all, so that tiles of several sizes share their filters.

    Returns:
        tuple[Tensor]: outputs, (tile, 6); filter, (6, 3); inputs, (6, tile + 2).
    """
    outputs: list = []
    filters: list = []
    inputs: list = []
    points = POINTS[:tile + 1]
    for point in POINTS:
        others = [other for other in POINTS if other != point]
        filters.append([Fraction(point)**power / _difference(point, others)
                        for power in range(TAPS)])
        if point not in points:
            outputs.append([0] * tile)
            inputs.append([0] * (tile + TAPS - 1))
            continue
        outputs.append([Fraction(point)**power for power in range(tile)])
        scale = _difference(point, POINTS[tile + 1:])
        polynomial = _polynomial([other for other in points if other != point])
        inputs.append([*(scale * value for value in polynomial), 0])
    outputs.append([0] * (tile - 1) + [1])
    filters.append([0] * (TAPS - 1) + [1])
    inputs.append(_polynomial(points))
    as_tensor = [torch.tensor([[float(value) for value in row] for row in matrix],
                              dtype=torch.float64) for matrix in (outputs, filters, inputs)]
    return as_tensor[0].T, as_tensor[1], as_tensor[2]


def _difference(point, others):
    """The product of the differences to the other points."""
    return math.prod((point - other for other in others), start=Fraction(1))


def _polynomial(roots):
    """Coefficients of the monic polynomial with these roots, constant term first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [high - root * low for high, low in zip(shifted, [*coefficients, 0])]
    return coefficients


def transform_filters(weight: Tensor) -> Tensor:
    """Filters (O, C, 3, 3) as one matrix of shape (C, O) for each of the 36 products."""
    matrix = transforms()[1]
    filters = torch.mm(torch.kron(matrix, matrix).float(),
                       weight.permute(2, 3, 0, 1).reshape(TAPS**2, -1))
    return filters.view(WINDOW**2, *weight.shape[:2]).transpose(1, 2)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 3x3 convolution with stride 1 and padding 1.

    Maps with few tiles, where reading the larger filters costs more than it saves, and 16 bits go
    through the direct convolution. The transformed filters take four times the memory of the
    weights, so they are not kept.

    Args:
        x (Tensor): maps of shape (N, C, H, W).
        weight (Tensor): filters of shape (O, C, 3, 3).
        bias (Tensor | None): shape (O, ).

    Returns:
        Tensor: shape (N, O, H, W), channels-last in memory where it is computed here.
    """
    height, width = x.shape[2:]
    if min(height, width) < 10 or len(x) * -(-height // TILE) * -(-width // TILE) < 64 or \
            not in_float32_on_cpu(x):
        return F.conv2d(x, weight, bias, padding=1)
    if torch.is_grad_enabled() and any(
            tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)):
        return _Convolution.apply(x, weight, bias)
    return _outputs(x, weight, bias)


class _Convolution(Function):
    """:func:`convolve` with gradients: for the input a convolution, for the filters Winograd, too.

    The input's gradient is the convolution of the output's with the filters turned by 180 degrees
    and their channels exchanged. oneDNN takes two to five times as long for the filters' gradient
    of large channels-last maps.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _outputs(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grads: list[Tensor | None] = [None, None, None]
        if ctx.needs_input_grad[0]:
            grads[0] = _outputs(grad, weight.transpose(0, 1).flip(2, 3))
        if ctx.needs_input_grad[1]:
            grads[1] = _filter_gradient(x, grad)
        if ctx.needs_input_grad[2]:
            grads[2] = grad.sum((0, 2, 3))
        return tuple(grads)


def _filter_gradient(x, grad):
    """The gradient of the filters (O, C, 3, 3) from maps (N, C, H, W) and (N, O, H, W).

    A tile is y = A [(G w) (B x)] with the matrices A, G, B of outputs, filter and inputs along both
    axes, the product in brackets taken for each of the 36 points. Its derivative turns round:
    dw = G' [(A' dy) (B x)], with the products of each point summed over tiles, as a matrix product
    of the tiles' (36, tiles, O) and (36, tiles, C).
    """
    rows, columns = (-(-side // TILE) for side in x.shape[2:])
    outputs, filters, inputs = transforms()
    to_products = torch.kron(inputs, inputs).float()
    from_outputs = torch.kron(outputs.T, outputs.T).float()
    x, grad = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    sums = x.new_zeros(WINDOW**2, grad.shape[3], x.shape[3])
    for images, part in _chunks(len(x), rows, columns):
        left = product(from_outputs, _tiles(grad, images, part, columns).reshape(TILE**2, -1))
        right = product(to_products, _windows(x, images, part, columns).reshape(WINDOW**2, -1))
        sums.baddbmm_(left.view(WINDOW**2, -1, grad.shape[3]).transpose(1, 2),
                      right.view(WINDOW**2, -1, x.shape[3]))
    taps = torch.mm(torch.kron(filters.T, filters.T).float(), sums.flatten(1))
    return taps.view(TAPS, TAPS, *sums.shape[1:]).permute(2, 3, 0, 1)


def _chunks(images, rows, columns):
    """Pairs of slices, of images and of the rows of tiles of each: about :data:`CHUNK` tiles."""
    together = max(CHUNK // (rows * columns), 1)
    step = max(CHUNK // columns, 1)
    return [(slice(image, image + together), slice(row, min(row + step, rows)))
            for image in range(0, images, together) for row in range(0, rows, step)]


def _outputs(x, weight, bias=None):
    if min(weight.shape[:2]) < MANY_CHANNELS:
        return F.conv2d(x, weight, bias, padding=1)
    rows, columns = (-(-side // TILE) for side in x.shape[2:])
    filters = transform_filters(weight)
    outputs, _, inputs = transforms()
    to_products = torch.kron(inputs, inputs).float()
    from_products = torch.kron(outputs, outputs).float()
    x = x.permute(0, 2, 3, 1)
    images, height, width, channels = x.shape
    out = torch.empty(images, len(weight), rows * TILE, columns * TILE,
                      memory_format=torch.channels_last)
    y = out.permute(0, 2, 3, 1).view(images, rows, TILE, columns, TILE, -1)
    for chunk in _chunks(images, rows, columns):
        place, windows = y[chunk], _windows(x, chunk[0], chunk[1], columns)
        products = product(to_products, windows.reshape(WINDOW**2, -1))
        products = torch.bmm(products.view(WINDOW**2, -1, channels), filters)
        tiles = product(from_products, products.view(WINDOW**2, -1))
        tiles = tiles.view(TILE, TILE, *windows.shape[2:5], -1).permute(2, 3, 0, 4, 1, 5)
        if bias is None:
            place.copy_(tiles)
        else:
            torch.add(tiles, bias, out=place)
    if out.shape[2:] != (height, width):
        out = out[:, :, :height, :width].contiguous(memory_format=torch.channels_last)
    return out  # no view, which nothing might change in place


def _windows(x, images, rows, columns):
    """The overlapping input windows of some images and rows of tiles.

    Args:
        x (Tensor): maps (N, H, W, C).
        images, rows (slice): of the maps and of the rows of tiles that each has.
        columns (int): tiles of a row.

    Returns:
        Tensor: a view (6, 6, images, rows, columns, C) of the padded maps.
    """
    height, width = x.shape[1:3]
    top, bottom = rows.start * TILE - 1, rows.stop * TILE + 1
    x = F.pad(x[images, max(top, 0):bottom],
              (0, 0, 1, columns * TILE + 1 - width, max(-top, 0), max(bottom - height, 0)))
    _, down, right, _ = x.stride()
    return x.as_strided((WINDOW, WINDOW, len(x), rows.stop - rows.start, columns, x.shape[3]),
                        (down, right, x.stride(0), TILE * down, TILE * right, 1))


def _tiles(y, images, rows, columns):
    """The output tiles of the same, padded with zeros, as a view: (4, 4, N, rows, columns, O)."""
    height, width = y.shape[1:3]
    y = F.pad(y[images, rows.start * TILE:rows.stop * TILE],
              (0, 0, 0, columns * TILE - width, 0, max(rows.stop * TILE - height, 0)))
    return y.reshape(len(y), -1, TILE, columns, TILE, y.shape[3]).permute(2, 4, 0, 1, 3, 5)


class WinogradConv2d(nn.Conv2d, Form):
    """A form of a 3x3 convolution with stride 1 and padding 1: :func:`convolve` on a CPU."""

    @staticmethod
    def fits(conv: nn.Conv2d) -> bool:
        """Whether a convolution is one that this form computes."""
        return conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.padding == (1, 1) and \
            conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == 'zeros' and \
            min(conv.weight.shape[:2]) >= 64

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not in_float32_on_cpu(input):
            return super()._conv_forward(input, weight, bias)
        return convolve(input, weight, bias)
