"""Results drawn on images: boxes, masks, label maps, names; sizes follow the image's.

Images are uint8 of shape (H, W, 3) in BGR order, as OpenCV reads and writes them.
"""
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from convnext_dense.fonts import font_of
from convnext_dense.prediction.colours import Colour, text_colour

MASK_OPACITY = .4
LABEL_MAP_OPACITY = .55
#: share of a label that may lie on other labels; beyond it, it is left out
MOST_COVERED = .15
SMALLEST_TEXT = 9  # pixels
#: smallest region of a label map that gets its class's name, in heights of the text
REGION = 1.6


def draw_instances(image: np.ndarray, boxes: np.ndarray, labels: Sequence[int] | np.ndarray,
                   names: Sequence[str], colours: Sequence[Colour],
                   scores: Sequence[float] | np.ndarray | None = None,
                   mask_crops: Sequence | None = None) -> np.ndarray:
    """Boxes, outlines of masks and names over an image; the highest score lies on top.

    Args:
        image (ndarray): any image; it is not changed.
        boxes (ndarray): (N, 4), x1, y1, x2, y2 in pixels.
        labels (Sequence[int]): indices into ``names`` and ``colours``.
        names (Sequence[str]), colours (Sequence[tuple]): of the classes, BGR.
        scores (Sequence[float] | None): in [0, 1], written after the name.
        mask_crops (Sequence[MaskCrop] | None): of the objects.

    Returns:
        ndarray: the drawn image.
    """
    canvas = as_canvas(image)
    line, text = sizes(canvas, boxes)
    order = np.argsort(scores, kind='stable').tolist() if scores is not None else list(
        range(len(boxes)))
    labels = [int(label) for label in labels]
    for index in order:
        if mask_crops is not None:
            _blend(canvas, mask_crops[index], colours[labels[index]], line)
    for index in order:
        left, top, right, bottom = (int(round(float(value))) for value in boxes[index])
        cv2.rectangle(canvas, (left, top), (right, bottom), colours[labels[index]], line)
    taken: list[tuple] = []
    for index in reversed(order):  # the best have the first choice of place
        label = labels[index]
        words = names[label] if scores is None else f'{names[label]} {scores[index]:.2f}'
        patch = label_image(words, text, colours[label])
        place = _place(canvas, boxes[index], patch.shape, taken)
        if place:
            _paste(canvas, patch, place)
    return canvas


def draw_label_map(image: np.ndarray, labels: np.ndarray, names: Sequence[str],
                   colours: Sequence[Colour]) -> np.ndarray:
    """A label map in colours over an image, with the classes' names in their largest regions.

    Args:
        image (ndarray): any image; it is not changed.
        labels (ndarray): (H, W), indices into ``names`` and ``colours``; others keep the image.
        names (Sequence[str]), colours (Sequence[tuple]): of the classes, BGR.

    Returns:
        ndarray: the drawn image.
    """
    canvas = as_canvas(image)
    text = sizes(canvas)[1]
    table = np.array([*colours, (0, 0, 0)], np.uint8)
    known = labels < len(colours)
    tint = table[np.where(known, labels, len(colours))]
    blended = cv2.addWeighted(canvas, 1 - LABEL_MAP_OPACITY, tint, LABEL_MAP_OPACITY, 0)
    canvas = np.where(known[:, :, None], blended, canvas)
    taken: list[tuple] = []
    for label in np.unique(labels[known]).tolist():
        place = _middle((labels == label).astype(np.uint8), text * REGION / 2)
        if place:
            patch = label_image(names[label], text, colours[label])
            height, width = patch.shape[:2]
            x, y = _inside(canvas, place[0] - width // 2, place[1] - height // 2, patch.shape)
            box = (x, y, x + width, y + height)
            if not any(_overlap(box, other) for other in taken):
                taken.append(box)
                _paste(canvas, patch, (x, y))
    return canvas


def draw_outlines(image: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """White lines where segments touch, so that things of one class are told apart.

    Args:
        image (ndarray): uint8, (H, W, 3); it is not changed.
        segments (ndarray): (H, W), the number of each pixel's segment.

    Returns:
        ndarray: the drawn image.
    """
    edge = np.zeros(segments.shape, np.uint8)
    edge[:, 1:] |= segments[:, 1:] != segments[:, :-1]
    edge[1:] |= segments[1:] != segments[:-1]
    line = sizes(image)[0]
    edge = cv2.dilate(edge, np.ones((line, line), np.uint8))
    return np.where(edge[:, :, None] > 0, np.uint8(255), image)


def as_canvas(image: np.ndarray) -> np.ndarray:
    """Any image as a new uint8 array (H, W, 3); of many bands the first three are shown."""
    pixels = image if image.ndim == 3 else image[:, :, None]
    pixels = pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, 2)
    if pixels.dtype == np.uint8:
        return np.array(pixels, order='C')
    pixels = np.nan_to_num(pixels.astype(np.float32))
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 255 or high <= 1:
        pixels = (pixels - low) * (255 / max(high - low, 1e-12))
    return np.ascontiguousarray(pixels.round().astype(np.uint8))


def sizes(image: np.ndarray, boxes: np.ndarray | None = None) -> tuple[int, int]:
    """Width of lines and height of text, in pixels, for an image and the boxes on it.

    Both grow with the image, and shrink where most of the boxes are small beside it.
    """
    side = (image.shape[0] * image.shape[1]) ** .5
    line, text = side / 450, min(side / 38, 64)
    if boxes is not None and len(boxes):
        sides = np.clip(boxes[:, 2:] - boxes[:, :2], 1, None)
        object_side = float(np.median(sides.prod(1) ** .5))
        line, text = min(line, object_side / 40), min(text, object_side / 7)
    return max(1, round(line)), max(SMALLEST_TEXT, round(text))


@lru_cache(maxsize=512)
def label_image(text: str, size: int, colour: Colour) -> np.ndarray:
    """A text on a bar of a colour.

    Args:
        text (str): in any script that a font of this machine has.
        size (int): of the font, in pixels.
        colour (tuple): BGR, of the bar.

    Returns:
        ndarray: uint8, (h, w, 3); do not change it.
    """
    from PIL import Image, ImageDraw
    text = ''.join(letter if letter.isprintable() else '?' for letter in text)
    font = _font(font_of(text).path, size)
    pad = max(2, size // 5)
    width = int(font.getlength(text)) + 2 * pad
    height = sum(font.getmetrics()) + pad
    image = Image.new('RGB', (width, height), colour)  # channels in OpenCV's order
    ImageDraw.Draw(image).text((pad, pad // 2), text, text_colour(colour), font)
    return np.asarray(image)


@lru_cache(maxsize=32)
def _font(path, size):
    from PIL import ImageFont
    return ImageFont.truetype(path, size)


def _blend(canvas, crop, colour, line):
    """Tint a mask and draw its outline."""
    rows, columns = crop.pixels.shape
    if not crop.pixels.size:
        return
    part = canvas[crop.top:crop.top + rows, crop.left:crop.left + columns]
    mask = crop.pixels[:part.shape[0], :part.shape[1]]
    part[mask] = (part[mask] * (1 - MASK_OPACITY) + np.array(colour) * MASK_OPACITY).astype(
        np.uint8)
    contours = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE,
                                offset=(crop.left, crop.top))[0]
    cv2.drawContours(canvas, contours, -1, colour, line, cv2.LINE_AA)


def _place(canvas, box, shape, taken):
    """Where a label of a box goes: (x, y) of its upper left corner, added to ``taken``; or None
    where it would hide too much of the labels that are there."""
    left, top, right, bottom = (int(round(float(value))) for value in box)
    height, width = shape[:2]
    choices = [(left, top - height), (left, top), (right - width, top - height), (left, bottom),
               (right - width, bottom - height)]
    spots = [_inside(canvas, x, y, shape) for x, y in choices]
    boxes = [(x, y, x + width, y + height) for x, y in spots]
    covered = [sum(_overlap(spot, other) for other in taken) for spot in boxes]
    best = covered.index(min(covered))
    if covered[best] > MOST_COVERED * height * width:
        return None
    taken.append(boxes[best])
    return spots[best]


def _inside(canvas, x, y, shape):
    """The nearest place at which a patch lies within the image."""
    return (int(np.clip(x, 0, max(canvas.shape[1] - shape[1], 0))),
            int(np.clip(y, 0, max(canvas.shape[0] - shape[0], 0))))


def _overlap(first, second):
    """Common area of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


def _paste(canvas, patch, place):
    x, y = place
    part = canvas[y:y + patch.shape[0], x:x + patch.shape[1]]
    part[:] = patch[:part.shape[0], :part.shape[1]]


def _middle(mask, radius):
    """The point of a mask that is farthest from its border, (x, y), or None where all are nearer
    than ``radius`` pixels."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distances = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
    _, farthest, _, (x, y) = cv2.minMaxLoc(distances)
    return (x - 1, y - 1) if farthest >= radius else None
