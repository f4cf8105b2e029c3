"""Image files: their size as training loads them."""
from __future__ import annotations

import warnings
from pathlib import Path

from convnext_dense.datasets.importers.source import Repairs
from convnext_dense.errors import InputError

ORIENTATION = 0x0112  # the EXIF tag
SWAPPED = (5, 6, 7, 8)  # its values that swap width and height


def loaded_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels after the rotation that EXIF asks for, from the file's header.

    Raises:
        InputError: no image.
    """
    return sizes(path)[1]


def sizes(path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """(width, height) as stored, and as loaded; see :func:`loaded_size`."""
    from PIL import Image
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter('ignore')
            stored = image.size
            turned = image.getexif().get(ORIENTATION, 1) in SWAPPED
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f'{path} cannot be read as an image ({type(error).__name__}); replace or '
                         'remove it') from error
    return stored, stored[::-1] if turned else stored


def size_or_none(path: Path, repairs: Repairs) -> tuple[int, int] | None:
    """:func:`loaded_size`, or None after counting a file that is no image among the repairs."""
    try:
        return loaded_size(path)
    except InputError:
        repairs.add('images that cannot be read: left out', path)
        return None
