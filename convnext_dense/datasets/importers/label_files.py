"""Label maps as they lie in files: numbers or colours, and how often each occurs."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from convnext_dense.errors import InputError


def read_pixels(path: Path, with_palette: bool = False) -> np.ndarray:
    """The pixels of a label map: numbers (H, W), or colours (H, W, 3) where they are no greys.

    Args:
        path: the file.
        with_palette: colours of the palette in place of the numbers of a PNG that has one.

    Raises:
        InputError: it cannot be decoded.
    """
    from PIL import Image
    try:
        with Image.open(path) as image:
            if image.mode == 'P' and with_palette:
                return np.asarray(image.convert('RGB'))
            without_alpha = {'RGBA': 'RGB', 'PA': 'P', 'LA': 'L'}.get(image.mode)
            pixels = np.asarray(image.convert(without_alpha) if without_alpha else image)
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f'label map {path} cannot be read ({type(error).__name__}); replace or '
                         'remove it') from error
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] == 3 and not with_palette and is_grey(pixels):
        return pixels[..., 0]
    return pixels


def is_grey(pixels: np.ndarray) -> bool:
    """Whether all three channels are the same."""
    return bool((pixels[..., :1] == pixels).all())


def packed(pixels: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) as numbers r * 65536 + g * 256 + b, shape (H, W); numbers as they are."""
    if pixels.ndim == 2:
        return pixels
    return pixels.astype(np.int64) @ np.array([65536, 256, 1])


def unpacked(number: int) -> tuple[int, int, int]:
    """The colour of a number of :func:`packed`."""
    return number >> 16, number >> 8 & 255, number & 255


def count_values(maps: Iterable[np.ndarray]) -> Counter:
    """How many pixels of all the arrays (H, W) have each number."""
    counts: Counter = Counter()
    for pixels in maps:
        values, numbers = np.unique(pixels, return_counts=True)
        counts.update(dict(zip(values.tolist(), numbers.tolist())))
    return counts
