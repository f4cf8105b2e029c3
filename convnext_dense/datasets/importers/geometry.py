"""Shapes as COCO keeps them: polygons and boxes in pixels. Pure functions."""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CIRCLE_POINTS = 64


def extent(polygons: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """The box (x, y, width, height) around polygons ``[[x, y, ...], ...]``."""
    xs = [value for polygon in polygons for value in polygon[::2]]
    ys = [value for polygon in polygons for value in polygon[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0.) -> list[float]:
    """An ellipse as a polygon, turned clockwise by ``degrees`` about its centre."""
    turn = math.radians(degrees)
    points: list[float] = []
    for number in range(CIRCLE_POINTS):
        angle = 2 * math.pi * number / CIRCLE_POINTS
        a, b = rx * math.cos(angle), ry * math.sin(angle)
        points += [x + a * math.cos(turn) - b * math.sin(turn),
                   y + a * math.sin(turn) + b * math.cos(turn)]
    return points


def turned_box(x1: float, y1: float, x2: float, y2: float, degrees: float) -> list[float]:
    """The corners of a box that is turned clockwise about its centre, as a polygon."""
    cx, cy, turn = (x1 + x2) / 2, (y1 + y2) / 2, math.radians(degrees)
    points: list[float] = []
    for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2)):
        points += [cx + (x - cx) * math.cos(turn) - (y - cy) * math.sin(turn),
                   cy + (x - cx) * math.sin(turn) + (y - cy) * math.cos(turn)]
    return points


def cut(box: Sequence[float], width: int, height: int) -> tuple[float, float, float, float]:
    """The part of a box (x, y, w, h) inside the image; its sides may be 0 or less."""
    x, y, w, h = box
    left, top = max(x, 0.), max(y, 0.)
    return left, top, min(x + w, float(width)) - left, min(y + h, float(height)) - top


def rle_of(mask: np.ndarray) -> dict:
    """COCO's compressed RLE of a mask (H, W), as JSON holds it."""
    from pycocotools import mask as coco_mask
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(size=[int(side) for side in rle['size']], counts=rle['counts'].decode())


def rle_box(rle: dict) -> tuple[float, float, float, float]:
    """The box (x, y, width, height) around a mask in COCO's RLE."""
    from pycocotools import mask as coco_mask
    x, y, width, height = map(float, coco_mask.toBbox(rle))
    return x, y, width, height


def area_of(mask: list | dict | None, box: Sequence[float], width: int, height: int) -> float:
    """Pixels that a mask covers as pycocotools draws it, or the area of the box."""
    if not mask:
        return float(box[2] * box[3])
    from pycocotools import mask as coco_mask
    rle = mask
    if isinstance(mask, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(mask, height, width))
    elif isinstance(mask['counts'], list):
        rle = coco_mask.frPyObjects(mask, height, width)
    return float(coco_mask.area(rle))
