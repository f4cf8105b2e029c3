"""Triton kernels of the depthwise 7x7 convolution of channels-last maps, and its weight gradient.

The convolution needs 49 multiply-adds for each element that it reads and writes, so arithmetic, not
memory, is its floor in 16-bit types. A thread therefore keeps ``ROWS`` outputs of one column in
registers, and for each of the seven horizontal taps walks down ``ROWS + 6`` inputs, each of which
serves up to seven outputs: a load and a conversion for 7 * ROWS / (ROWS + 6) multiply-adds. Where
a program holds all channels of its pixels, LayerNorm follows in registers.

With y[p] = sum over taps t of w[t] x[p + t] the input's gradient is sum of w[t] dy[p - t], the same
convolution with the filters turned by 180 degrees; a tap's is the sum of x[p + t] dy[p] over all
images and pixels.

Sums are float32 (float64 for float64 maps) and have a fixed order: the same input gives the same
bits. Rows are addressed with 64 bits, the offsets inside a row with 32.
"""
import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.acceleration.triton.tiles import OPTIONS, Tile, processors, sum_dtype, sum_type

TAPS = tl.constexpr(7)
HALO = tl.constexpr(3)


@triton.jit(do_not_specialize=['height', 'width', 'strips', 'tiles'])
def convolve_kernel(x_ptr, weight_ptr, bias_ptr, norm_weight_ptr, norm_bias_ptr, y_ptr, z_ptr,
                    mean_ptr, rstd_ptr, height, width, stride_n, stride_h, stride_w, strips, tiles,
                    eps, C: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
                    CHANNELS: tl.constexpr, BIAS: tl.constexpr, NORM: tl.constexpr,
                    KEEP: tl.constexpr, ACC: tl.constexpr):
    """Convolve a tile of ROWS x COLUMNS pixels and CHANNELS channels.

    ``weight`` lies as (7, 7, C). Without NORM the sums go to ``y``. With it, CHANNELS >= C, ``y``
    gets the normalised values, and with KEEP ``z``, ``mean`` and ``rstd`` what the gradient needs.
    """
    tile = tl.program_id(0)
    w = tile % tiles * COLUMNS + tl.arange(0, COLUMNS)[:, None]
    h = tile // tiles % strips * ROWS
    n = (tile // (tiles * strips)).to(tl.int64)
    # channels as a full tile: the weights arrive in the layout of the sums
    c = (tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
         + tl.zeros([COLUMNS, 1], tl.int32))
    real = c < C
    first = x_ptr + n * stride_n + (h - HALO).to(tl.int64) * stride_h
    if BIAS:
        start = tl.load(bias_ptr + c, mask=real, other=0.).to(ACC)
    else:
        start = tl.zeros([COLUMNS, CHANNELS], ACC)
    sums = ()  # no product of a tuple and a number: Triton 3.6's interpreter has none
    for _ in tl.static_range(ROWS):
        sums = sums + (start, )
    for right in range(TAPS):
        column = w + (right - HALO)
        inside = (column >= 0) & real
        inputs = first + (column * stride_w + c)
        taps = ()
        for down in tl.static_range(TAPS):
            taps = taps + (tl.load(weight_ptr + (down * TAPS + right) * C + c, mask=real,
                                   other=0.).to(ACC), )
        for i in tl.static_range(ROWS + TAPS - 1):
            row = h + (i - HALO)
            end = tl.where((row >= 0) & (row < height), width, 0)
            x = tl.load(inputs, mask=inside & (column < end), other=0.).to(ACC)
            inputs += stride_h
            updated = ()
            for j in tl.static_range(ROWS):
                if i - j >= 0 and i - j < TAPS:
                    updated = updated + (sums[j] + x * taps[i - j], )
                else:
                    updated = updated + (sums[j], )
            sums = updated

    if NORM:
        scale = tl.load(norm_weight_ptr + c, mask=real, other=0.).to(ACC)
        shift = tl.load(norm_bias_ptr + c, mask=real, other=0.).to(ACC)
    dtype = y_ptr.dtype.element_ty
    for j in tl.static_range(ROWS):
        pixel = (n * height + (h + j)) * width
        within = w < tl.where(h + j < height, width, 0)
        values = sums[j]  # type: ignore[var-annotated]
        if NORM:
            if KEEP:
                tl.store(z_ptr + pixel * C + (w * C + c), values.to(dtype), mask=within & real)
            mean = tl.sum(values, axis=1, keep_dims=True) / C
            values = tl.where(real, values - mean, 0.)
            variance = tl.sum(values * values, axis=1, keep_dims=True) / C
            rstd = 1 / tl.sqrt(variance + eps)
            values = values * rstd * scale + shift
            if KEEP:
                tl.store(mean_ptr + pixel + w, mean, mask=within)
                tl.store(rstd_ptr + pixel + w, rstd, mask=within)
        tl.store(y_ptr + pixel * C + (w * C + c), values.to(dtype), mask=within & real)


@triton.jit(do_not_specialize=['height', 'width', 'strips', 'tiles', 'items', 'share'])
def weight_gradient_kernel(x_ptr, grad_ptr, partial_ptr, height, width, stride_n, stride_h,
                           stride_w, strips, tiles, items, share, C: tl.constexpr,
                           ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
                           ACC: tl.constexpr):
    """Sums of input times gradient for the 49 taps, over this program's share of the pixels.

    An item is a tile of ROWS x COLUMNS pixels; a program takes ``share`` of them, neighbours in a
    row. ``partial`` is (programs, 49, C), to be summed over the programs.
    """
    program = tl.program_id(0)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    real = c < C
    zero = tl.zeros([COLUMNS, CHANNELS], ACC)
    of_column = ()
    for _ in tl.static_range(TAPS):
        of_column = of_column + (zero, )
    sums = ()
    for _ in tl.static_range(TAPS):
        sums = sums + (of_column, )
    for item in range(program * share, tl.minimum((program + 1) * share, items)):
        w = item % tiles * COLUMNS + tl.arange(0, COLUMNS)[:, None]
        h = item // tiles % strips * ROWS
        n = (item // (tiles * strips)).to(tl.int64)
        first = x_ptr + n * stride_n + (h - HALO).to(tl.int64) * stride_h
        gradients = ()
        for j in tl.static_range(ROWS):
            end = tl.where(h + j < height, width, 0)
            gradients = gradients + (tl.load(
                grad_ptr + (n * height + (h + j)) * width * C + (w * C + c),
                mask=real & (w < end), other=0.).to(ACC), )
        updated = ()
        for right in tl.static_range(TAPS):
            column = w + (right - HALO)
            inside = (column >= 0) & real
            inputs = first + (column * stride_w + c)
            taps = sums[right]  # type: ignore[var-annotated]
            for i in tl.static_range(ROWS + TAPS - 1):
                row = h + (i - HALO)
                end = tl.where((row >= 0) & (row < height), width, 0)
                x = tl.load(inputs, mask=inside & (column < end), other=0.).to(ACC)
                inputs += stride_h
                added = ()
                for down in tl.static_range(TAPS):
                    if i - down >= 0 and i - down < ROWS:
                        added = added + (taps[down] + x * gradients[i - down], )
                    else:
                        added = added + (taps[down], )
                taps = added
            updated = updated + (taps, )
        sums = updated
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    for right in tl.static_range(TAPS):
        for down in tl.static_range(TAPS):
            tl.store(partial_ptr + (program * TAPS + down) * TAPS * C + right * C + c,
                     tl.sum(sums[right][down], axis=0), mask=c < C)


def taps_of(weight: Tensor, like: Tensor, flipped: bool = False) -> Tensor:
    """The filters (C, 1, 7, 7) as the kernels read them: (7, 7, C), in the type of the sums.

    ``flipped`` turns the convolution into that which carries gradients back to its input.
    """
    taps = weight.detach().flatten(1)
    return (taps.flip(1) if flipped else taps).t().to(sum_dtype(like)).contiguous()


def convolve(x: Tensor, taps: Tensor, bias: Tensor | None, tile: Tile,
             norm: tuple[Tensor, Tensor] | None = None, eps: float = 0.,
             keep: bool = False) -> tuple[Tensor, ...]:
    """Convolve maps and, if asked, normalise them.

    Args:
        x (Tensor): (N, C, H, W); the channels lie next to each other in memory.
        taps (Tensor): from :func:`taps_of`.
        bias (Tensor | None): (C, ).
        tile (Tile): with a norm, its channels hold all of the map's.
        norm (tuple[Tensor, Tensor] | None): weight and bias of LayerNorm over the channels.
        eps (float): added to the variance.
        keep (bool): return also what the gradient needs.

    Returns:
        tuple[Tensor, ...]: the result (N, H, W, C); with ``keep`` also the map before the norm,
        and mean and reciprocal deviation of each pixel (N, H, W).
    """
    images, channels, height, width = x.shape
    y = x.new_empty(images, height, width, channels)
    kept = ()
    if keep:
        kept = (torch.empty_like(y), *(y.new_empty(y.shape[:3], dtype=taps.dtype)
                                       for _ in range(2)))
    z, mean, rstd = kept or (y, y, y)
    strips, tiles = triton.cdiv(height, tile.rows), triton.cdiv(width, tile.columns)
    grid = images * strips * tiles, triton.cdiv(channels, tile.channels)
    convolve_kernel[grid](
        x, taps, y if bias is None else bias, *(norm or (y, y)), y, z, mean, rstd, height,
        width, x.stride(0), x.stride(2), x.stride(3), strips, tiles, eps, C=channels,
        ROWS=tile.rows, COLUMNS=tile.columns, CHANNELS=tile.channels, BIAS=bias is not None,
        NORM=norm is not None, KEEP=keep, ACC=sum_type(x), num_warps=tile.warps, **OPTIONS)
    return (y, *kept)


def weight_gradient(x: Tensor, grad: Tensor, tile: Tile) -> Tensor:
    """Gradient of the filters.

    Args:
        x (Tensor): input of the convolution, (N, C, H, W), channels next to each other.
        grad (Tensor): gradient of its output, (N, H, W, C), contiguous.
        tile (Tile): of the kernel.

    Returns:
        Tensor: (C, 1, 7, 7), in the type of the sums.
    """
    images, channels, height, width = x.shape
    strips, tiles = triton.cdiv(height, tile.rows), triton.cdiv(width, tile.columns)
    blocks, items = triton.cdiv(channels, tile.channels), images * strips * tiles
    share = triton.cdiv(items, max(4 * processors(x.device) // blocks, 1))
    programs = triton.cdiv(items, share)
    partial = x.new_empty(programs, 7, 7, channels, dtype=sum_dtype(x))
    weight_gradient_kernel[programs, blocks](
        x, grad, partial, height, width, x.stride(0), x.stride(2), x.stride(3), strips, tiles,
        items, share, C=channels, ROWS=tile.rows, COLUMNS=tile.columns, CHANNELS=tile.channels,
        ACC=sum_type(x), num_warps=tile.warps, **OPTIONS)
    return partial.sum(0).permute(2, 0, 1).unsqueeze(1).contiguous()
