"""The size of an image file, from its header.

Pillow knows the EXIF rotation of every format; what is asked of each image of a run (see
:mod:`convnext_dense.checks.image_files`) is asked of imagesize, which no size stops.
"""
import warnings
from pathlib import Path
from typing import IO

from convnext_dense.errors import InputError

ORIENTATION = 0x0112  # the EXIF tag
SWAPPED = (5, 6, 7, 8)  # its values that swap width and height


def image_sizes(path: str | Path | IO[bytes]) -> tuple[tuple[int, int], tuple[int, int]]:
    """(width, height) in pixels as stored, and as loaded: after the rotation that EXIF asks for.

    Raises:
        InputError: no image.
    """
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
