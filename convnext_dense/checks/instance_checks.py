"""Checks of one instance: its box, its polygons, its RLE. Pure functions, pixels throughout."""
import math

import numpy as np

from convnext_dense.checks.findings import Finding

TOLERANCE = 1.  # pixels: annotation tools round
SAME = 0.5  # IoU of a box with the extent of its mask
FAR = 10  # sides of an image: drawing a polygon takes memory for each pixel that its lines cross


def check_instance(annotation, width, height, with_mask):
    """Everything that is wrong with a COCO annotation.

    Args:
        annotation (dict): the annotation.
        width, height (int): stated size of its image.
        with_mask (bool): whether the pipeline loads masks.

    Returns:
        list[Finding]
    """
    name = f'annotation {annotation.get("id")}'
    box = annotation.get('bbox')
    if not is_box(box):
        return [Finding('box-malformed', f'{name}: bbox {box!r:.80}')]
    found = []
    x, y, w, h = box
    shown = '[' + ', '.join(f'{value:g}' for value in box) + ']'
    if w < 1 or h < 1:
        found.append(Finding('box-empty', f'{name}: bbox {shown}'))
    elif outside(x, y, x + w, y + h, width, height):
        found.append(Finding('box-outside', f'{name}: bbox {shown} in an image of '
                             f'{width} x {height}'))
    area = annotation.get('area')
    if not is_number(area) or area <= 0:
        found.append(Finding('area', f'{name}: area {area!r:.40}'))
    mask = annotation.get('segmentation')
    if not mask:
        if with_mask:
            found.append(Finding('mask-missing', name))
        return found
    problems, extent = check_mask(mask, width, height)
    found += [Finding(kind, f'{name}: {text}') for kind, text in problems]
    if extent and w >= 1 and h >= 1 and iou(extent, (x, y, x + w, y + h)) < SAME:
        found.append(Finding('mask-off-box', f'{name}: bbox {shown}, its mask spans '
                             f'{", ".join(f"{value:g}" for value in extent)} (x1, y1, x2, y2)'))
    return found


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_box(box):
    return isinstance(box, (list, tuple)) and len(box) == 4 and all(map(is_number, box))


def outside(x1, y1, x2, y2, width, height):
    """Whether an extent leaves the image by more than the tolerance."""
    return (min(x1, y1) < -TOLERANCE or x2 > width + TOLERANCE or y2 > height + TOLERANCE)


def iou(a, b):
    """IoU of two extents (x1, y1, x2, y2)."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union > 0 else 0.


def check_mask(mask, width, height):
    """Problems of a segmentation, as (kind, text), and its extent (x1, y1, x2, y2) or None."""
    if isinstance(mask, dict):
        return _check_rle(mask, width, height)
    if isinstance(mask, list) and all(isinstance(part, (list, tuple)) for part in mask):
        return _check_polygons(mask, width, height)
    return [('mask-malformed', f'segmentation {mask!r:.60}')], None


def _check_polygons(polygons, width, height):
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
        if outside(*extent, width, height):
            spans = ', '.join(f'{value:g}' for value in extent)
            problems.append(('polygon-outside', f'polygon spans {spans} (x1, y1, x2, y2) in a '
                             f'image of {width} x {height}'))
    if not extents:
        return problems, None
    extents = np.array(extents)
    return problems, (*extents[:, :2].min(0).tolist(), *extents[:, 2:].max(0).tolist())


def undrawable_mask(mask, width, height):
    """Why a segmentation must not be drawn: its size could exhaust the memory.

    Args:
        mask (list | dict | None): polygons, or an RLE.
        width, height (int): of its image.

    Returns:
        str | None
    """
    if isinstance(mask, dict):
        size = mask.get('size')
        numbers = isinstance(size, (list, tuple)) and all(map(is_number, size))
        if numbers and math.prod(size) > FAR**2 * width * height:
            return f'a mask of size {list(size)}, expected [{height}, {width}] (height, width)'
        return None
    reach = FAR * max(width, height)
    for polygon in mask if isinstance(mask, (list, tuple)) else ():
        for value in polygon if isinstance(polygon, (list, tuple)) else ():
            if isinstance(value, (int, float)) and not abs(value) <= reach:
                return f'a polygon that reaches to {value:g}, in an image of {width}x{height}'
    return None


def polygon_area(points):
    """Area inside a closed polygon of points (N, 2), by the shoelace formula."""
    x, y = (points - points[0]).T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _check_rle(rle, width, height):
    counts, size = rle.get('counts'), rle.get('size')
    if not isinstance(counts, (str, bytes, list)) or not isinstance(size, (list, tuple)):
        return [('mask-malformed', f'RLE with the keys {sorted(rle)}')], None
    if list(size) != [height, width]:
        return [('rle-invalid', f'RLE of size {list(size)}, expected [{height}, {width}] '
                 '(height, width)')], None
    if not isinstance(counts, list):
        counts = decode_counts(counts)
    if counts is None or not all(isinstance(run, int) and run >= 0 for run in counts) \
            or sum(counts) != height * width:
        total = 'nothing' if counts is None else sum(counts)
        return [('rle-invalid', f'RLE counts fill {total} of {height * width} pixels')], None
    extent = rle_extent(counts, height)
    if extent is None:
        return [('mask-empty', 'RLE without a pixel')], None
    return [], extent


def decode_counts(text):
    """Run lengths of COCO's compressed RLE, or None where the text is none.

    Each number has 5 bits a character, lowest first, 0x20 marking that more follow, 0x10 the sign
    of the last; from the fourth on they are differences to the number before the last.
    """
    text = text.encode('latin-1', 'replace') if isinstance(text, str) else text
    runs, at = [], 0
    while at < len(text):
        value = shift = 0
        while True:
            if at >= len(text) or not 48 <= text[at] < 112:
                return None
            piece = text[at] - 48
            value |= (piece & 0x1f) << shift
            shift += 5
            at += 1
            if not piece & 0x20:
                break
        if piece & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


def rle_extent(runs, height):
    """Extent (x1, y1, x2, y2) of column-major runs, background first, or None without a pixel."""
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
