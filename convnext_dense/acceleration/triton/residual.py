"""Triton kernels of layer scale, drop path and the residual sum: one pass each way.

With y = x + gamma f branch, f a factor an image: the gradient of x is dy itself, the branch's is
gamma f dy, and gamma's the sum of f dy branch over all images and pixels.
"""
import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.acceleration.triton.tiles import OPTIONS, Tile, chunks_of, sum_dtype, sum_type


@triton.jit(do_not_specialize=['pixels', 'tiles'])
def add_kernel(x_ptr, branch_ptr, gamma_ptr, factor_ptr, y_ptr, pixels, tiles, C: tl.constexpr,
               PIXELS: tl.constexpr, CHANNELS: tl.constexpr, GAMMA: tl.constexpr,
               FACTOR: tl.constexpr, ACC: tl.constexpr):
    """x + branch * gamma * factor; ``gamma`` is (C), ``factor`` (N)."""
    n = (tl.program_id(0) // tiles).to(tl.int64)
    p = tl.program_id(0) % tiles * PIXELS + tl.arange(0, PIXELS)[:, None]
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    here = (p < pixels) & (c < C)
    offsets = (n * pixels + p) * C + c
    branch = tl.load(branch_ptr + offsets, mask=here, other=0.).to(ACC)
    if GAMMA:
        branch *= tl.load(gamma_ptr + c, mask=c < C, other=0.).to(ACC)
    if FACTOR:
        branch *= tl.load(factor_ptr + n).to(ACC)
    y = tl.load(x_ptr + offsets, mask=here, other=0.).to(ACC) + branch
    tl.store(y_ptr + offsets, y.to(y_ptr.dtype.element_ty), mask=here)


@triton.jit(do_not_specialize=['pixels', 'chunk', 'chunks'])
def gradient_kernel(grad_ptr, branch_ptr, gamma_ptr, factor_ptr, dbranch_ptr, partial_ptr, pixels,
                    chunk, chunks, C: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
                    GAMMA: tl.constexpr, FACTOR: tl.constexpr, ACC: tl.constexpr):
    """Gradient of ``branch`` over a chunk of pixels, and that of gamma summed over it.

    ``partial`` is (N, chunks, C).
    """
    n = (tl.program_id(0) // chunks).to(tl.int64)
    begin = tl.program_id(0) % chunks * chunk
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    of_gamma = tl.zeros([PIXELS, CHANNELS], ACC)
    for start in range(begin, begin + chunk, PIXELS):
        p = start + tl.arange(0, PIXELS)[:, None]
        here = (p < pixels) & (p < begin + chunk) & (c < C)
        offsets = (n * pixels + p) * C + c
        grad = tl.load(grad_ptr + offsets, mask=here, other=0.).to(ACC)
        if FACTOR:
            grad *= tl.load(factor_ptr + n).to(ACC)
        if GAMMA:
            branch = tl.load(branch_ptr + offsets, mask=here, other=0.).to(ACC)
            of_gamma += grad * branch
            grad *= tl.load(gamma_ptr + c, mask=c < C, other=0.).to(ACC)
        tl.store(dbranch_ptr + offsets, grad.to(dbranch_ptr.dtype.element_ty), mask=here)
    if GAMMA:
        c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
        tl.store(partial_ptr + tl.program_id(0) * C + c, tl.sum(of_gamma, axis=0), mask=c < C)


def add(x: Tensor, branch: Tensor, gamma: Tensor | None, factor: Tensor | None,
        tile: Tile) -> Tensor:
    """``x`` plus the branch, scaled by channel and by image.

    Args:
        x, branch (Tensor): (N, H, W, C), contiguous.
        gamma (Tensor | None): layer scale, (C, ).
        factor (Tensor | None): of each image's branch, (N, ).

    Returns:
        Tensor: like ``x``.
    """
    images, height, width, channels = x.shape
    y = torch.empty_like(x)
    tiles = triton.cdiv(height * width, tile.columns)
    add_kernel[images * tiles, triton.cdiv(channels, tile.channels)](
        x, branch, x if gamma is None else gamma, x if factor is None else factor, y,
        height * width, tiles, **_options(x, gamma, factor, tile))
    return y


def gradient(grad: Tensor, branch: Tensor, gamma: Tensor | None, factor: Tensor | None,
             tile: Tile) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`add`.

    Returns:
        tuple[Tensor, Tensor]: that of the branch, like it, and that of gamma (C, ), zeros where
        there is no gamma.
    """
    images, height, width, channels = branch.shape
    dbranch = torch.empty_like(branch)
    blocks = triton.cdiv(channels, tile.channels)
    chunk, chunks = chunks_of(height * width, images, blocks, tile, branch.device)
    partial = grad.new_zeros(images, chunks, channels, dtype=sum_dtype(branch))
    gradient_kernel[images * chunks, blocks](
        grad, branch, grad if gamma is None else gamma, grad if factor is None else factor,
        dbranch, partial, height * width, chunk, chunks,
        **_options(branch, gamma, factor, tile))
    return dbranch, partial.sum((0, 1))


def _options(x, gamma, factor, tile):
    return dict(C=x.shape[-1], PIXELS=tile.columns, CHANNELS=tile.channels,
                GAMMA=gamma is not None, FACTOR=factor is not None, ACC=sum_type(x),
                num_warps=tile.warps, **OPTIONS)
