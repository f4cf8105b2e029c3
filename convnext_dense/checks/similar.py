"""Images that look the same although their pixels differ: re-encoded or resized copies."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

SIDE = 16  # a thumbnail is SIDE x SIDE grey levels
BANDS = 4  # of 16 of the 64 bits; copies differ in so few bits that one band stays equal
DIFFERENCE = 2.  # mean difference of the thumbnails of copies, of 255 grey levels
FLAT = 6.  # standard deviation below which a thumbnail says nothing


def thumbnail(image: Image.Image) -> bytes:
    """Grey levels of a PIL image, averaged to 16 x 16: 256 bytes."""
    from PIL import Image
    return image.convert('L').resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


def similar(later: Sequence[bytes], earlier: Sequence[bytes]) -> list[tuple[int, int, float]]:
    """For each thumbnail of ``later``, the most alike of ``earlier`` where it is a copy.

    Args:
        later, earlier (Sequence[bytes]): thumbnails.

    Returns:
        list[tuple[int, int, float]]: index in ``later``, index in ``earlier``, mean difference
        in grey levels (0 to 255).
    """
    if not later or not earlier:
        return []
    levels, levels_before = _levels(later), _levels(earlier)
    buckets = defaultdict(list)
    for number, keys in enumerate(_keys(levels_before)):
        for key in keys:
            buckets[key].append(number)
    pairs = []
    for number, keys in enumerate(_keys(levels)):
        candidates = sorted({other for key in keys for other in buckets.get(key, ())})
        if not candidates or levels[number].std() < FLAT:
            continue
        differences = np.abs(levels_before[candidates] - levels[number]).mean(1)
        best = int(differences.argmin())
        if differences[best] <= DIFFERENCE:
            pairs.append((number, candidates[best], float(differences[best])))
    return pairs


def _levels(thumbnails):
    return np.frombuffer(b''.join(thumbnails), np.uint8).reshape(-1, SIDE**2).astype(np.float32)


def _keys(levels):
    """Four (band, 16 bits) for each thumbnail: which of 8 x 8 areas are above their median."""
    areas = levels.reshape(-1, SIDE // 2, 2, SIDE // 2, 2).mean((2, 4)).reshape(-1, 64)
    bits = np.packbits(areas > np.median(areas, 1, keepdims=True), axis=1).view('>u2')
    return [[(band, int(value)) for band, value in enumerate(row)] for row in bits]
