"""What the launching code of all kernels shares: tiles, the type of sums, numbers of programs."""
from functools import cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

#: kernels are launched with fused multiply-adds, whatever the default of the Triton release is
OPTIONS = dict(enable_fp_fusion=True)


class Tile(NamedTuple):
    """What one program works on: rows x columns pixels (or that many pixels), and channels."""
    rows: int
    columns: int
    channels: int
    warps: int


def sum_type(x: Tensor) -> tl.dtype:
    """Triton's type of the sums over a map: float64 for float64, else float32."""
    return tl.float64 if x.dtype == torch.float64 else tl.float32


def sum_dtype(x: Tensor) -> torch.dtype:
    """torch's name of :func:`sum_type`."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def pixel_tile(channels: int, values: int = 8, most: int = 128) -> Tile:
    """A tile for a kernel that reads and writes each value once: blocks of at most ``most``
    channels, four warps, ``values`` values a thread."""
    block = min(triton.next_power_of_2(channels), most)
    return Tile(1, max(4 * 32 * values // block, 1), block, 4)


@cache
def processors(device: torch.device) -> int:
    """Streaming multiprocessors of a GPU; 2 under the interpreter, which runs on the CPU."""
    if device.type != 'cuda':
        return 2
    return torch.cuda.get_device_properties(device).multi_processor_count


def chunks_of(pixels: int, images: int, blocks: int, tile: Tile, device: torch.device
              ) -> tuple[int, int]:
    """How to share a sum over each image's pixels among programs.

    Returns:
        tuple[int, int]: pixels of a chunk, a multiple of the tile, and chunks an image: enough
        for 8 programs a multiprocessor, so that the partial sums stay small.
    """
    tiles = triton.cdiv(pixels, tile.columns)
    wanted = max(8 * processors(device) // (images * blocks), 1)
    chunk = triton.cdiv(tiles, min(wanted, tiles)) * tile.columns
    return chunk, triton.cdiv(pixels, chunk)
