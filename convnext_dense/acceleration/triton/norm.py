"""Triton kernels of LayerNorm over the channels of a map in either memory order.

A program holds PIXELS x CHANNELS values, all channels of its pixels, in registers: one pass over
memory forward, one backward. The strides say where the channels lie, so a channels-first map is
read as it is, PIXELS neighbours at a time.

With n = (x - mean) rstd and y = n w + b the gradient is dx = rstd (g - mean(g) - n mean(g n)) with
g = dy w, the means over the channels; those of w and b are the sums of dy n and dy over all pixels.
"""
import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.acceleration.triton.tiles import OPTIONS, Tile, processors, sum_dtype, sum_type


@triton.jit(do_not_specialize=['pixels', 'tiles'])
def normalise_kernel(x_ptr, weight_ptr, bias_ptr, y_ptr, mean_ptr, rstd_ptr, pixels, x_n, x_p, x_c,
                     y_n, y_p, y_c, tiles, eps, C: tl.constexpr, PIXELS: tl.constexpr,
                     CHANNELS: tl.constexpr, ACC: tl.constexpr):
    """Normalise ``x``, seen as (N, pixels, C); ``mean`` and ``rstd`` are (N, pixels)."""
    n = (tl.program_id(0) // tiles).to(tl.int64)
    p = (tl.program_id(0) % tiles * PIXELS + tl.arange(0, PIXELS)[:, None]).to(tl.int64)
    c = tl.arange(0, CHANNELS)[None, :]
    real = c < C
    here = (p < pixels) & real
    x = tl.load(x_ptr + n * x_n + p * x_p + c * x_c, mask=here, other=0.).to(ACC)
    mean = tl.sum(x, axis=1, keep_dims=True) / C
    x = tl.where(real, x - mean, 0.)
    rstd = 1 / tl.sqrt(tl.sum(x * x, axis=1, keep_dims=True) / C + eps)
    weight = tl.load(weight_ptr + c, mask=real, other=0.).to(ACC)
    bias = tl.load(bias_ptr + c, mask=real, other=0.).to(ACC)
    y = x * rstd * weight + bias
    tl.store(y_ptr + n * y_n + p * y_p + c * y_c, y.to(y_ptr.dtype.element_ty), mask=here)
    tl.store(mean_ptr + n * pixels + p, mean, mask=p < pixels)
    tl.store(rstd_ptr + n * pixels + p, rstd, mask=p < pixels)


@triton.jit(do_not_specialize=['pixels', 'tiles', 'items'])
def gradient_kernel(grad_ptr, x_ptr, mean_ptr, rstd_ptr, weight_ptr, dx_ptr, partial_ptr, pixels,
                    grad_n, grad_p, grad_c, x_n, x_p, x_c, dx_n, dx_p, dx_c, tiles, items,
                    C: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
                    ACC: tl.constexpr):
    """Gradient of ``x``, and per-program sums of the gradients of weight, bias and x.

    A program takes every so-manyth tile. ``partial`` is (programs, 3, C).
    """
    c = tl.arange(0, CHANNELS)[None, :]
    real = c < C
    weight = tl.load(weight_ptr + c, mask=real, other=0.).to(ACC)
    of_weight = tl.zeros([PIXELS, CHANNELS], ACC)
    of_bias = tl.zeros([PIXELS, CHANNELS], ACC)
    of_x = tl.zeros([PIXELS, CHANNELS], ACC)
    for item in range(tl.program_id(0), items, tl.num_programs(0)):
        n = (item // tiles).to(tl.int64)
        p = (item % tiles * PIXELS + tl.arange(0, PIXELS)[:, None]).to(tl.int64)
        exists = p < pixels
        here = exists & real
        grad = tl.load(grad_ptr + n * grad_n + p * grad_p + c * grad_c, mask=here,
                       other=0.).to(ACC)
        x = tl.load(x_ptr + n * x_n + p * x_p + c * x_c, mask=here, other=0.).to(ACC)
        mean = tl.load(mean_ptr + n * pixels + p, mask=exists, other=0.)
        rstd = tl.load(rstd_ptr + n * pixels + p, mask=exists, other=0.)
        x = tl.where(here, (x - mean) * rstd, 0.)
        of_weight += grad * x
        of_bias += grad
        grad *= weight
        along = tl.sum(grad * x, axis=1, keep_dims=True) / C
        level = tl.sum(grad, axis=1, keep_dims=True) / C
        dx = tl.where(here, (grad - level - x * along) * rstd, 0.)
        of_x += dx
        tl.store(dx_ptr + n * dx_n + p * dx_p + c * dx_c, dx.to(dx_ptr.dtype.element_ty),
                 mask=here)
    c = tl.arange(0, CHANNELS)
    sums = partial_ptr + tl.program_id(0) * 3 * C + c
    tl.store(sums, tl.sum(of_weight, axis=0), mask=c < C)
    tl.store(sums + C, tl.sum(of_bias, axis=0), mask=c < C)
    tl.store(sums + 2 * C, tl.sum(of_x, axis=0), mask=c < C)


def normalise(x: Tensor, weight: Tensor, bias: Tensor, eps: float,
              tile: Tile) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNorm over the channels of a map, in the memory order that the map has.

    Args:
        x (Tensor): (N, C, H, W), dense, channels first or last in memory.
        weight, bias (Tensor): (C, ).
        eps (float): added to the variance.
        tile (Tile): its channels hold all of the map's.

    Returns:
        tuple[Tensor, Tensor, Tensor]: the result, like ``x``; mean and reciprocal deviation of
        each pixel, (N, H, W).
    """
    images, channels, height, width = x.shape
    y = torch.empty_like(x)
    mean, rstd = (x.new_empty(images, height, width, dtype=sum_dtype(x)) for _ in range(2))
    tiles = triton.cdiv(height * width, tile.columns)
    normalise_kernel[(images * tiles, )](
        x, weight, bias, y, mean, rstd, height * width, *_strides(x), *_strides(y), tiles,
        eps, C=channels, PIXELS=tile.columns, CHANNELS=tile.channels, ACC=sum_type(x),
        num_warps=tile.warps, **OPTIONS)
    return y, mean, rstd


def gradient(grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor,
             tile: Tile) -> tuple[Tensor, Tensor]:
    """Gradients of LayerNorm.

    Args:
        grad (Tensor): gradient of the output, (N, C, H, W), dense, in either memory order.
        x, mean, rstd, weight (Tensor): input and results of :func:`normalise`.
        tile (Tile): its channels hold all of the map's.

    Returns:
        tuple[Tensor, Tensor]: the gradient of ``x``, like it, and sums over all pixels (3, C): the
        gradients of weight and of bias, and the sum of the gradient of ``x``.
    """
    images, channels, height, width = x.shape
    dx = torch.empty_like(x)
    tiles = triton.cdiv(height * width, tile.columns)
    items = images * tiles
    programs = min(items, 4 * processors(x.device))
    partial = x.new_empty(programs, 3, channels, dtype=sum_dtype(x))
    gradient_kernel[(programs, )](
        grad, x, mean, rstd, weight, dx, partial, height * width, *_strides(grad),
        *_strides(x), *_strides(dx), tiles, items, C=channels, PIXELS=tile.columns,
        CHANNELS=tile.channels, ACC=sum_type(x), num_warps=tile.warps, **OPTIONS)
    return dx, partial.sum(0)


def _strides(x):
    """Strides of an image, a pixel and a channel of a dense (N, C, H, W) map."""
    return x.stride(0), x.stride(3) if x.shape[3] > 1 else x.stride(2), x.stride(1)
