"""The size of an image file, from its header."""
import os
import warnings

ORIENTATION = 0x0112  # the EXIF tag
SWAPPED = (5, 6, 7, 8)  # its values that swap width and height


def image_size(folder: str, name: str) -> tuple[int, int] | None:
    """(width, height) as the image is loaded, its EXIF rotation applied; None where unreadable."""
    from PIL import Image
    try:
        with warnings.catch_warnings(), Image.open(os.path.join(folder, name)) as image:
            warnings.simplefilter('ignore')
            width, height = image.size
            turned = image.getexif().get(ORIENTATION) in SWAPPED
    except Exception:  # a damaged file can raise anything
        return None
    return (height, width) if turned else (width, height)
