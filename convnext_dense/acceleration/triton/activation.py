"""Triton kernels of exact GELU, alone or followed by global response normalisation (GRN).

GRN needs the norm of each channel over the whole image before the first output. So a first
kernel reads the map and sums, and a second reads it again, activates, scales and writes: three
passes over memory. Backward computes the activated map again beside the gradient, so that it need
not be kept: it is a third of what training a block keeps.

With a = gelu(x), norm n_c = |a_c| over the image, m = mean(n) + eps, r = n / m and
y = a (gamma r + 1) + beta: dr = gamma sum(dy a), dn = (dr - mean(dr r)) / m and
da = dy (gamma r + 1) + a dn / n; gamma's is sum(dy a r), beta's sum(dy), dx = da gelu'(x).
"""
import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.acceleration.triton.tiles import OPTIONS, Tile, chunks_of, sum_dtype, sum_type

SQRT_HALF = tl.constexpr(0.7071067811865476)
SQRT_HALF_OVER_PI = tl.constexpr(0.3989422804014327)


@triton.jit(do_not_specialize=['pixels', 'chunk', 'chunks'])
def sums_kernel(x_ptr, grad_ptr, partial_ptr, pixels, chunk, chunks, C: tl.constexpr,
                PIXELS: tl.constexpr, CHANNELS: tl.constexpr, BACKWARD: tl.constexpr,
                ACC: tl.constexpr):
    """Sums over a chunk of an image's pixels, by channel.

    Forward: of GELU(x) squared, into ``partial`` (N, chunks, C). BACKWARD: of grad * GELU(x) and
    of grad, into ``partial`` (N, chunks, 2, C).
    """
    n = (tl.program_id(0) // chunks).to(tl.int64)
    begin = tl.program_id(0) % chunks * chunk
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    first = tl.zeros([PIXELS, CHANNELS], ACC)
    second = tl.zeros([PIXELS, CHANNELS], ACC)
    for start in range(begin, begin + chunk, PIXELS):
        p = start + tl.arange(0, PIXELS)[:, None]
        here = (p < pixels) & (p < begin + chunk) & (c < C)
        offsets = (n * pixels + p) * C + c
        x = tl.load(x_ptr + offsets, mask=here, other=0.).to(ACC)
        activated = .5 * x * (1 + tl.erf(x * SQRT_HALF))
        if BACKWARD:
            grad = tl.load(grad_ptr + offsets, mask=here, other=0.).to(ACC)
            first += grad * activated
            second += grad
        else:
            first += activated * activated
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    if BACKWARD:
        sums = partial_ptr + tl.program_id(0) * 2 * C + c
        tl.store(sums, tl.sum(first, axis=0), mask=c < C)
        tl.store(sums + C, tl.sum(second, axis=0), mask=c < C)
    else:
        tl.store(partial_ptr + tl.program_id(0) * C + c, tl.sum(first, axis=0), mask=c < C)


@triton.jit(do_not_specialize=['pixels', 'tiles'])
def apply_kernel(x_ptr, scale_ptr, shift_ptr, y_ptr, pixels, tiles, C: tl.constexpr,
                 PIXELS: tl.constexpr, CHANNELS: tl.constexpr, ACC: tl.constexpr):
    """GELU(x) * scale + shift; ``scale`` is (N, C), ``shift`` (C)."""
    n = (tl.program_id(0) // tiles).to(tl.int64)
    p = tl.program_id(0) % tiles * PIXELS + tl.arange(0, PIXELS)[:, None]
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    here = (p < pixels) & (c < C)
    offsets = (n * pixels + p) * C + c
    x = tl.load(x_ptr + offsets, mask=here, other=0.).to(ACC)
    scale = tl.load(scale_ptr + n * C + c, mask=c < C, other=0.)
    shift = tl.load(shift_ptr + c, mask=c < C, other=0.).to(ACC)
    y = .5 * x * (1 + tl.erf(x * SQRT_HALF)) * scale + shift
    tl.store(y_ptr + offsets, y.to(y_ptr.dtype.element_ty), mask=here)


@triton.jit(do_not_specialize=['pixels', 'tiles'])
def gradient_kernel(x_ptr, grad_ptr, scale_ptr, shift_ptr, pull_ptr, dx_ptr, y_ptr, pixels, tiles,
                    C: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
                    GRN: tl.constexpr, ACC: tl.constexpr):
    """Gradient (grad * scale + GELU(x) * pull) * GELU'(x), and again GELU(x) * scale + shift.

    ``scale`` and ``pull`` are (N, C); without GRN they are 1 and 0, and ``shift`` is 0.
    """
    n = (tl.program_id(0) // tiles).to(tl.int64)
    p = tl.program_id(0) % tiles * PIXELS + tl.arange(0, PIXELS)[:, None]
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    here = (p < pixels) & (c < C)
    offsets = (n * pixels + p) * C + c
    x = tl.load(x_ptr + offsets, mask=here, other=0.).to(ACC)
    grad = tl.load(grad_ptr + offsets, mask=here, other=0.).to(ACC)
    below = .5 * (1 + tl.erf(x * SQRT_HALF))
    slope = below + x * SQRT_HALF_OVER_PI * tl.exp(-.5 * x * x)
    y = x * below
    if GRN:
        scale = tl.load(scale_ptr + n * C + c, mask=c < C, other=0.)
        grad = grad * scale + y * tl.load(pull_ptr + n * C + c, mask=c < C, other=0.)
        y = y * scale + tl.load(shift_ptr + c, mask=c < C, other=0.).to(ACC)
    tl.store(dx_ptr + offsets, (grad * slope).to(dx_ptr.dtype.element_ty), mask=here)
    tl.store(y_ptr + offsets, y.to(y_ptr.dtype.element_ty), mask=here)


def gelu_grn(x: Tensor, gamma: Tensor, beta: Tensor, eps: float, tile: Tile
             ) -> tuple[Tensor, Tensor]:
    """GELU, then GRN with its weights ``gamma`` and ``beta`` of shape (C, ).

    Args:
        x (Tensor): (N, H, W, C), contiguous, not empty.
        eps (float): added to the mean of the norms.
        tile (Tile): of both kernels.

    Returns:
        tuple[Tensor, Tensor]: the result, like ``x``, and the norm of each activated channel over
        its image, (N, C).
    """
    images, height, width, channels = x.shape
    pixels, blocks = height * width, triton.cdiv(channels, tile.channels)
    chunk, chunks = chunks_of(pixels, images, blocks, tile, x.device)
    partial = x.new_empty(images, chunks, channels, dtype=sum_dtype(x))
    sums_kernel[images * chunks, blocks](
        x, x, partial, pixels, chunk, chunks, BACKWARD=False, **_options(x, tile))
    norms = partial.sum(1).sqrt()
    scale = norms / (norms.mean(1, keepdim=True) + eps) * gamma + 1
    y, tiles = torch.empty_like(x), triton.cdiv(pixels, tile.columns)
    apply_kernel[images * tiles, blocks](
        x, scale, beta, y, pixels, tiles, **_options(x, tile))
    return y, norms


def gelu_gradient(grad: Tensor, x: Tensor, tile: Tile) -> tuple[Tensor, Tensor]:
    """Gradient of GELU, and its result again.

    Args:
        grad (Tensor): gradient of the result.
        x (Tensor): (N, H, W, C), contiguous, not empty.

    Returns:
        tuple[Tensor, Tensor]: gradient of ``x``, and GELU of ``x``.
    """
    return _gradient(grad, x, x, x, x, tile, grn=False)


def gelu_grn_gradient(grad: Tensor, x: Tensor, norms: Tensor, gamma: Tensor, beta: Tensor,
                      eps: float, tile: Tile) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of :func:`gelu_grn`, and its result again.

    Args:
        grad (Tensor): gradient of the result, (N, H, W, C), contiguous.
        x, norms, gamma, beta (Tensor): input and second result of :func:`gelu_grn`.

    Returns:
        tuple[Tensor, Tensor, Tensor, Tensor]: gradients of x, gamma and beta; the result.
    """
    images, height, width, channels = x.shape
    pixels, blocks = height * width, triton.cdiv(channels, tile.channels)
    chunk, chunks = chunks_of(pixels, images, blocks, tile, x.device)
    partial = x.new_empty(images, chunks, 2, channels, dtype=sum_dtype(x))
    sums_kernel[images * chunks, blocks](
        x, grad, partial, pixels, chunk, chunks, BACKWARD=True, **_options(x, tile))
    of_scale, of_shift = partial.sum(1).unbind(1)
    level = norms.mean(1, keepdim=True) + eps
    of_response = of_scale * gamma
    of_norms = of_response / level - (
        (of_response * norms).sum(1, keepdim=True) / (channels * level * level))
    pull = torch.where(norms > 0, of_norms / norms, 0)  # a channel of zeros stays where it is
    scale = norms / level * gamma + 1
    dx, y = _gradient(grad, x, scale, beta, pull, tile, grn=True)
    return dx, (of_scale * norms / level).sum(0), of_shift.sum(0), y


def _gradient(grad, x, scale, shift, pull, tile, grn):
    images, height, width, channels = x.shape
    dx, y = torch.empty_like(x), torch.empty_like(x)
    tiles = triton.cdiv(height * width, tile.columns)
    gradient_kernel[images * tiles, triton.cdiv(channels, tile.channels)](
        x, grad, scale, shift, pull, dx, y, height * width, tiles, GRN=grn, **_options(x, tile))
    return dx, y


def _options(x, tile):
    return dict(C=x.shape[-1], PIXELS=tile.columns, CHANNELS=tile.channels, ACC=sum_type(x),
                num_warps=tile.warps, **OPTIONS)
