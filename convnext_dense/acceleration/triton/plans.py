"""The ways of doing each step that are worth measuring, the one to use unmeasured first.

The tiles come from what the compiler makes of them for compute capability 9.0 (docs/gpu.md): no
spilled registers, and at least eight warps a multiprocessor.
"""
from typing import NamedTuple

import triton

from convnext_dense.acceleration.triton.tiles import Tile, pixel_tile

#: rows of a convolution's tile: all ConvNeXt maps of 224-pixel images divide by it
ROWS = 7
#: channels up to which one program may hold a pixel
MOST_CHANNELS = 4096
#: bytes of shared memory that every GPU from compute capability 8.0 on gives a program
MOST_SHARED = 2**16


class Plan(NamedTuple):
    """How a step is done: ``fused``, ``split`` or ``native``, and the tile of our kernel."""
    how: str
    tile: Tile | None = None


NATIVE = Plan('native')


def convolution_tiles(channels: int) -> list[Tile]:
    """Tiles of the convolution alone: a thread holds four or eight channels of one column."""
    block = next(size for size in (64, 32, 16) if channels % size == 0 or size == 16)
    return [Tile(rows, 4 * 32 * held // block, block, 4)
            for rows, held in ((ROWS, 4), (ROWS, 8), (2 * ROWS, 4))]


def fused_tiles(channels: int) -> list[Tile]:
    """Tiles of the convolution with all channels of a pixel, for the norm in registers."""
    block = triton.next_power_of_2(channels)
    tiles = []
    for least, held in ((4, 4), (4, 8), (8, 4)):
        warps = max(least, block // (32 * held))
        tile = Tile(ROWS, 32 * warps * held // block, block, warps)
        if warps <= 16 and tile not in tiles:
            tiles.append(tile)
    return tiles


def dwconv_norm(channels: int) -> list[Plan]:
    """Plans of the forward pass."""
    fused = [Plan('fused', tile) for tile in fused_tiles(channels)]
    split = [Plan('split', tile) for tile in convolution_tiles(channels)]
    wasteful = triton.next_power_of_2(channels) > 1.5 * channels or channels > 512
    return [*(split + fused if wasteful else fused + split), NATIVE]


def convolution(channels: int) -> list[Plan]:
    """Plans of the gradient of the input."""
    return [*(Plan('split', tile) for tile in convolution_tiles(channels)), NATIVE]


def weight_gradient(channels: int) -> list[Plan]:
    """Plans of the gradient of the filters: a thread holds all 49 sums of two channels."""
    block = 64 if channels % 64 == 0 else 32
    return [Plan('split', Tile(ROWS, 4 * 32 * 2 // block, block, 4)), NATIVE]


def norm(channels: int, channels_last: bool) -> list[Plan]:
    """Plans of LayerNorm; a channels-first map is read 16 pixels, 32 bytes, at a time or more.

    It goes through shared memory, of which some GPUs (compute capability 8.6, 12.0) have 100 KiB a
    program: where 16 pixels are more, the first plan has fewer.
    """
    block = triton.next_power_of_2(channels)
    plans = []
    if not channels_last and 16 * 4 * block > MOST_SHARED:
        plans.append(Plan('fused', Tile(1, MOST_SHARED // (4 * block), block, 16)))
    for values in (8, 16, 32):
        warps = min(max(block * (1 if channels_last else 16) // (32 * values), 4), 16)
        pixels = max(32 * warps * values // block, 1 if channels_last else 16)
        plans.append(Plan('fused', Tile(1, pixels, block, warps)))
    return list(dict.fromkeys(plans))


def elementwise(channels: int) -> list[Plan]:
    """Plans of GELU + GRN and of the residual sum."""
    return [Plan('fused', pixel_tile(channels, values)) for values in (8, 16)]
