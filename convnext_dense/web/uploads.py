"""What an uploaded file must be before anything decodes it."""
import re
from pathlib import Path
from typing import IO

from convnext_dense.checks.image_files import EXTENSIONS, image_size
from convnext_dense.errors import InputError, printable

#: bytes that a file of these kinds begins with
KINDS = {**{start: name for start, (name, _) in EXTENSIONS.items()}, b'RIFF': 'WebP'}
#: scans of a JPEG; encoders write about ten, and each takes as long as decoding a whole image
MAX_SCANS = 100
SCAN = b'\xff\xda'
#: pixels along a side; some steps take as long as the square of it, and panoramas are shorter
MAX_SIDE = 16_384
LONGEST_NAME = 100


class WrongType(InputError):
    """The upload is no image of a kind that is taken."""


class TooLarge(InputError):
    """The image has more pixels than are taken, in all or along a side."""


def shown_name(name: str | None) -> str:
    """The name of an uploaded file for messages: its last part, without control characters."""
    return printable(re.split(r'[/\\]', name or '')[-1])[:LONGEST_NAME] or 'the image'


def keep_upload(source: IO[bytes], path: Path, name: str, max_pixels: int) -> None:
    """Write an upload to a file that a model's loader may read.

    Args:
        source (IO): what was uploaded.
        path (Path): the file; it lies there after an error, too.
        name (str): of the upload, for messages.
        max_pixels (int): that the image may have.

    Raises:
        WrongType: it is none of ``KINDS``.
        TooLarge: it says that it has more pixels, in all or along a side.
        InputError: it is damaged in a way that is seen without decoding.
    """
    content = source.read()
    path.write_bytes(content)
    kind = kind_of(content)
    if not content:
        raise InputError(f'{name} is an empty file')
    if kind is None:
        *most, last = dict.fromkeys(KINDS.values())
        raise WrongType(f'{name} is no image that is taken here: send {", ".join(most)} or {last}')
    size = image_size(str(path))
    if size is None:
        raise InputError(f'{name} begins like a {kind} file, but has no size; it is damaged')
    if size[0] * size[1] > max_pixels:
        raise TooLarge(f'{name} has {size[0]}x{size[1]} pixels, and images of at most '
                       f'{max_pixels / 1e6:g} million are taken here; make it smaller')
    if max(size) > MAX_SIDE:
        raise TooLarge(f'{name} has {size[0]}x{size[1]} pixels, and sides of at most {MAX_SIDE} '
                       'are taken here; make it smaller')
    if kind == 'JPEG' and content.count(SCAN) > MAX_SCANS:
        raise InputError(f'{name} has {content.count(SCAN)} scans, more than any camera or '
                         'program writes; save it anew')


def kind_of(content: bytes) -> str | None:
    """The kind of image file, or None of others."""
    if content[:4] == b'RIFF' and content[8:12] != b'WEBP':
        return None
    return next((kind for start, kind in KINDS.items() if content.startswith(start)), None)
