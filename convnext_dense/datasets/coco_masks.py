"""Masks as COCO files write them: polygons and run-length encodings. Pure functions, pixels."""
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

FAR = 10  # sides of an image: drawing a polygon takes memory for each pixel that its lines cross
MOST_PIXELS = 1 << 31  # of a mask where the image's size is not known

#: what a check finds: its kind (see :mod:`convnext_dense.checks.findings`) and a text
Problems = list[tuple[str, str]]
#: left, top, right, bottom
Extent = tuple[float, float, float, float]


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; True and False are none."""
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and abs(value) < 1e100)  # math.isfinite fails on integers beyond a float's range


def is_box(box: Any) -> bool:
    """Whether a value is four finite numbers."""
    return isinstance(box, (list, tuple)) and len(box) == 4 and all(map(is_number, box))


def no_mask(mask: Any) -> bool:
    """Whether a segmentation is one of the ways to write that there is none."""
    return not mask or isinstance(mask, list) and not any(
        part or part == 0 for part in mask)


def valid_polygons(mask: Any) -> list[list[float]]:
    """The polygons of a segmentation that enclose something: three points or more."""
    return [polygon for polygon in mask if len(polygon) >= 6 and len(polygon) % 2 == 0
            and set(map(type, polygon)) <= {int, float} and abs(sum(polygon)) < 1e100]


def are_usual(polygons: list[list[float]], reach: float) -> bool:
    """Whether all polygons have three points or more, none farther away than the reach."""
    return bool(polygons) and all(
        len(polygon) >= 6 and len(polygon) % 2 == 0 and -reach <= min(polygon)
        and max(polygon) <= reach for polygon in polygons)


def mask_problem(mask: Any, width: int, height: int) -> str | None:
    """Why a mask cannot be used, or None.

    Args:
        mask: of the annotation: polygons or an RLE.
        width, height: of its image; 0 where they are not known.
    """
    if no_mask(mask):
        return 'no mask'
    if isinstance(mask, list) and all(isinstance(part, list) for part in mask):
        return None if valid_polygons(mask) else f'no polygon of three points: {mask!r:.60}'
    if not isinstance(mask, dict):
        return f'a segmentation that is neither polygons [[x1, y1, ...]] nor an RLE: {mask!r:.60}'
    size = rle_size(mask)
    if size and not (width and height):
        height, width = size
    problems, _ = check_mask(mask, width, height)
    return next((text for kind, text in problems if kind != 'mask-empty'), None)


def rle_size(mask: Any) -> tuple[int, int] | None:
    """(height, width) of an RLE, or None where it states no possible size."""
    size = mask.get('size') if isinstance(mask, dict) else None
    if isinstance(size, (list, tuple)) and len(size) == 2 and all(
            isinstance(side, int) and side > 0 for side in size) and \
            math.prod(size) <= MOST_PIXELS:
        return size[0], size[1]
    return None


def mask_area(mask: Any) -> float:
    """Pixels of a valid RLE, or the area that polygons enclose."""
    if isinstance(mask, dict):
        counts = mask['counts'] if isinstance(mask['counts'], list) else decode_counts(
            mask['counts'])
        return float(sum(counts[1::2])) if counts else 0.
    return sum(polygon_area(np.asarray(polygon, float).reshape(-1, 2))
               for polygon in valid_polygons(mask))


def check_mask(mask: Any, width: float, height: float) -> tuple[Problems, Extent | None]:
    """Problems of a segmentation, as (kind, text), and its extent or None."""
    if isinstance(mask, dict):
        return _check_rle(mask, width, height)
    if isinstance(mask, list) and all(isinstance(part, (list, tuple)) for part in mask):
        return _check_polygons(mask, width, height)
    return [('mask-malformed', f'segmentation {mask!r:.60}')], None


def outside(x1: float, y1: float, x2: float, y2: float, width: float, height: float,
            tolerance: float = 1.) -> bool:
    """Whether an extent leaves the image by more than the tolerance in pixels."""
    return min(x1, y1) < -tolerance or x2 > width + tolerance or y2 > height + tolerance


def _check_polygons(polygons: Sequence, width: float, height: float,
                    ) -> tuple[Problems, Extent | None]:
    problems, extents = [], []
    for polygon in polygons:
        if len(polygon) % 2 or len(polygon) < 6 or not all(map(is_number, polygon)):
            problems.append(('polygon-invalid', f'polygon {polygon!r:.60}'))
            continue
        points = np.asarray(polygon, float).reshape(-1, 2)
        extent = (*points.min(0), *points.max(0))
        extents.append(extent)
        if polygon_area(points) < 1e-6:
            problems.append(('polygon-degenerate', f'polygon {polygon!r:.60}'))
        if outside(extent[0], extent[1], extent[2], extent[3], width, height):
            spans = ', '.join(f'{value:g}' for value in extent)
            problems.append(('polygon-outside', f'polygon spans {spans} (x1, y1, x2, y2) in a '
                             f'image of {width} x {height}'))
    if not extents:
        return problems, None
    low, high = np.array(extents)[:, :2].min(0), np.array(extents)[:, 2:].max(0)
    return problems, (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def undrawable_mask(mask: Any, width: float, height: float) -> str | None:
    """Why a segmentation must not be drawn, or None: its size could exhaust the memory.

    Args:
        mask: polygons, an RLE, or None.
        width, height: of its image.
    """
    if isinstance(mask, dict):
        size = mask.get('size')
        if isinstance(size, (list, tuple)) and all(map(is_number, size)) and \
                math.prod(size) > FAR**2 * width * height:
            return f'a mask of size {list(size)}, expected [{height}, {width}] (height, width)'
        return None
    reach = FAR * max(width, height)
    for polygon in mask if isinstance(mask, (list, tuple)) else ():
        for value in polygon if isinstance(polygon, (list, tuple)) else ():
            if isinstance(value, (int, float)) and not -reach <= value <= reach:
                shown = f'{value:g}' if is_number(value) else f'{value!r:.20}'
                return f'a polygon that reaches to {shown}, in an image of {width}x{height}'
    return None


def polygon_area(points: np.ndarray) -> float:
    """Area inside a closed polygon of points (N, 2), by the shoelace formula."""
    x, y = (points - points[0]).T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _check_rle(rle: dict, width: float, height: float) -> tuple[Problems, Extent | None]:
    counts, size = rle.get('counts'), rle.get('size')
    if not isinstance(counts, (str, bytes, list)) or not isinstance(size, (list, tuple)):
        return [('mask-malformed', f'RLE with the keys {sorted(map(str, rle))}')], None
    if list(size) != [height, width]:
        return [('rle-invalid', f'RLE of size {list(size)!r:.60}, expected [{height}, {width}] '
                 '(height, width)')], None
    if not isinstance(counts, list):
        counts = decode_counts(counts)
    if counts is None or not all(type(run) is int and run >= 0 for run in counts) \
            or sum(counts) != height * width:
        total = 'nothing' if counts is None or not all(map(is_number, counts)) else sum(counts)
        return [('rle-invalid', f'RLE counts fill {total} of {height * width} pixels')], None
    extent = rle_extent(counts, int(height))
    if extent is None:
        return [('mask-empty', 'RLE without a pixel')], None
    return [], extent


def decode_counts(text: str | bytes) -> list[int] | None:
    """Run lengths of COCO's compressed RLE, or None where the text is none.

    Each number has 5 bits a character, lowest first, 0x20 marking that more follow, 0x10 the sign
    of the last; from the fourth on they are differences to the number before the last.
    """
    data = text.encode('latin-1', 'replace') if isinstance(text, str) else text
    runs: list[int] = []
    at = 0
    while at < len(data):
        value = shift = 0
        while True:
            if at >= len(data) or not 48 <= data[at] < 112:
                return None
            piece = data[at] - 48
            value |= (piece & 0x1f) << shift
            shift += 5
            at += 1
            if not piece & 0x20:
                break
        if piece & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


def rle_extent(runs: list[int], height: int) -> Extent | None:
    """Extent of column-major runs, background first, or None without a pixel."""
    ends = np.cumsum(runs)
    starts, ends = ends[:-1:2], ends[1::2]
    kept = ends > starts
    starts, ends = starts[kept], ends[kept]
    if not len(starts):
        return None
    last = ends - 1
    first_column, last_column = starts // height, last // height
    crosses = last_column > first_column  # such a run touches the bottom and the top
    top = 0 if crosses.any() else int((starts % height).min())
    bottom = height if crosses.any() else int((last % height).max()) + 1
    return int(first_column.min()), top, int(last_column.max()) + 1, bottom
