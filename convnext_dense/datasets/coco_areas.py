"""COCO's sizes of objects."""

SMALL, LARGE = 32 ** 2, 96 ** 2  # pixels: smaller than one is small, larger than the other large
#: cocoapi's ranges, in pixels, both ends included
AREAS = {'all': (0, 1e10), 'small': (0, SMALL), 'medium': (SMALL, LARGE), 'large': (LARGE, 1e10)}


def size_name(area: float) -> str:
    """``small``, ``medium`` or ``large``."""
    return 'small' if area < SMALL else 'medium' if area < LARGE else 'large'
