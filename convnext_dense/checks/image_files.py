"""What an image file says of itself, before anything decodes it.

Whether a file can be decoded, and what it holds, is for the loader of the pipeline to say; here is
only what a loader does not say: that a file is cut off (OpenCV fills the rest with grey), or so
large that decoding it would exhaust the memory.
"""
import os
import re
import warnings

import imagesize

from convnext_dense.checks.findings import Finding

#: pixels of an image; 16384 x 16384
MAX_PIXELS = 2**28
EXTENSIONS = {b'\xff\xd8\xff': ('JPEG', ('.jpg', '.jpeg', '.jpe', '.jfif')),
              b'\x89PNG': ('PNG', ('.png', )), b'BM': ('BMP', ('.bmp', )),
              b'GIF8': ('GIF', ('.gif', )), b'II*\0': ('TIFF', ('.tif', '.tiff')),
              b'MM\0*': ('TIFF', ('.tif', '.tiff'))}
#: a marker that ends the data of a JPEG scan
MARKER = re.compile(rb'\xff[^\x00\xff\xd0-\xd7]')


def look_at_file(path: str, max_pixels: int = MAX_PIXELS) -> Finding | None:
    """Why a file should not be decoded, or None.

    Args:
        path (str): a file; what is no local file is left to the loader.
        max_pixels (int): the most pixels that an image may have.

    Returns:
        Finding | None: its text does not name the file.
    """
    if not os.path.isfile(path):
        return None
    info = _header(path)
    if info and info.width * info.height > max_pixels:
        return Finding('image-unreadable', f'has {info.width}x{info.height} pixels, more than '
                       f'bad_images.max_pixels={max_pixels} allows')
    if is_truncated(path):
        return Finding('image-unreadable', 'is truncated')
    return None


def explain(path: str, error: Exception) -> Finding:
    """What is wrong with a file that the loader could not load.

    Args:
        path (str): the file.
        error (Exception): what the loader raised.

    Returns:
        Finding: its text does not name the file.
    """
    if '://' not in path:
        if not os.path.exists(path):
            return Finding('image-missing', 'is missing')
        if os.path.isdir(path):
            return Finding('image-unreadable', 'is a folder, expected an image')
        if not os.path.getsize(path):
            return Finding('image-unreadable', 'is an empty file')
    text = (str(error).strip().splitlines() or ['no reason given'])[0]
    if 'truncated' in text:
        return Finding('image-unreadable', 'is truncated')
    if type(error).__name__ == 'DecompressionBombError':
        return Finding('image-unreadable', "has more pixels than pillow decodes; set the loader's "
                       "imdecode_backend='cv2'")
    if 'failed to load image' in text or type(error).__name__ == 'UnidentifiedImageError':
        return Finding('image-unreadable', 'is no image that the loader can decode')
    return Finding('image-unreadable', f'cannot be read ({type(error).__name__}: '
                   f'{text.replace(path, "").strip(" :")[:160]})')


def oddities(path: str) -> list[str]:
    """What is unusual about the file of an image that can be used."""
    try:
        with open(path, 'rb') as file:
            head = file.read(26)
    except OSError:
        return []
    found = []
    info = _header(path)
    if head.startswith(b'\xff\xd8') and info and info.channels == 4:
        found.append('has CMYK colours')
    if head.startswith(b'\x89PNG') and head[24:25] == b'\x10':
        found.append('has 16 bits a channel')
    for start, (name, extensions) in EXTENSIONS.items():
        if head.startswith(start) and not path.lower().endswith(extensions):
            found.append(f'is a {name} image by content')
    return found


def orientation(path: str) -> int:
    """The EXIF orientation of an image, 1 to 8; 1 where it has none."""
    info = _header(path)
    return info.rotation if info and info.rotation in range(1, 9) else 1


def image_size(path: str) -> tuple[int, int] | None:
    """Width and height that the header of an image file states, in pixels, or None without one."""
    info = _header(path)
    return (info.width, info.height) if info else None


def is_truncated(path: str) -> bool:
    """Whether a JPEG, PNG or WebP file ends before its content does; other files are whole."""
    with open(path, 'rb') as file:
        head = file.read(12)
        size = file.seek(0, os.SEEK_END)
        if head[:4] == b'RIFF' and head[8:] == b'WEBP':
            return size < 8 + int.from_bytes(head[4:8], 'little')
        jpeg, png = head.startswith(b'\xff\xd8'), head.startswith(b'\x89PNG\r\n\x1a\n')
        if not jpeg and not png:
            return False
        file.seek(0)
        return not (_jpeg_ends(file.read()) if jpeg else _png_ends(file.read()))


def _jpeg_ends(content):
    """Whether the segments of a JPEG lead to its end marker."""
    at = 2
    while at + 2 <= len(content):
        if content[at] != 0xff:
            return False
        kind = content[at + 1]
        if kind == 0xd9:
            return True
        if kind == 0xff:  # a fill byte
            at += 1
            continue
        at += 2 + int.from_bytes(content[at + 2:at + 4], 'big')
        if kind == 0xda:  # a scan, whose data have no length
            marker = MARKER.search(content, at)
            if marker is None:
                return False
            at = marker.start()
    return False


def _png_ends(content):
    """Whether the chunks of a PNG lead to its last one."""
    at = 8
    while at + 12 <= len(content):
        if content[at + 4:at + 8] == b'IEND':
            return True
        at += 12 + int.from_bytes(content[at:at + 4], 'big')
    return False


def _header(path):
    """What imagesize finds, or None; sizes are positive."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            info = imagesize.get_info(path, dpi=False)
    except Exception:  # a damaged header can raise anything
        return None
    return info if info.width > 0 and info.height > 0 else None
