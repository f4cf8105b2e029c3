"""Images with ground truth and predictions drawn on them.

Every image is uint8 of shape (H, W, 3) in BGR order, as OpenCV reads and writes it.
"""
import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def palette(count: int) -> list[tuple[int, ...]]:
    """``count`` colours that differ in hue, int BGR tuples."""
    colours = [colorsys.hsv_to_rgb(i / count, (.95, .6)[i % 2], 1.) for i in range(count)]
    return [tuple(round(255 * channel) for channel in colour[::-1]) for colour in colours]


def draw_instances(image: np.ndarray, boxes: np.ndarray, masks: np.ndarray,
                   labels: Sequence[int] | np.ndarray, names: Sequence[str],
                   scores: Sequence[float] | np.ndarray | None = None, zoom: int = 3) -> np.ndarray:
    """Outlines, boxes and names of instances, over an enlarged image.

    Args:
        image (ndarray): as above.
        boxes (ndarray): shape (N, 4), x1, y1, x2, y2 in pixels.
        masks (ndarray): bool, shape (N, H, W).
        labels (Sequence[int]): indices into ``names``.
        names (Sequence[str]): of the classes.
        scores (Sequence[float] | None): in [0, 1], written after the name.
        zoom (int): enlargement.

    Returns:
        ndarray: uint8, shape (zoom * H, zoom * W, 3).
    """
    colours = palette(len(names))
    canvas = _enlarge(image, zoom)
    tinted = canvas.copy()
    enlarged = [_enlarge(np.asarray(mask, np.uint8), zoom) for mask in masks]
    for mask, label in zip(enlarged, labels):
        tinted[mask > 0] = colours[label]
    canvas = cv2.addWeighted(canvas, .6, tinted, .4, 0)
    for mask, label in zip(enlarged, labels):
        contours = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0]
        cv2.drawContours(canvas, contours, -1, colours[label], 2, cv2.LINE_AA)
    for index, (box, label) in enumerate(zip(boxes, labels)):
        left, top, right, bottom = (int(round(value * zoom)) for value in box)
        cv2.rectangle(canvas, (left, top), (right, bottom), colours[label], 1, cv2.LINE_AA)
        text = names[label] + ('' if scores is None else f' {scores[index]:.2f}')
        _write(canvas, text, left, top, colours[label])
    return canvas


def draw_label_map(image: np.ndarray, label_map: np.ndarray, names: Sequence[str], zoom: int = 3,
                   ignore_index: int = 255) -> np.ndarray:
    """A label map in colours over an enlarged image; ignored pixels keep the image's own.

    Args:
        image (ndarray): as above.
        label_map (ndarray): int, shape (H, W), indices into ``names`` or ``ignore_index``.
        names (Sequence[str]): of the classes.
        zoom (int): enlargement.

    Returns:
        ndarray: uint8, shape (zoom * H, zoom * W, 3).
    """
    colours = palette(len(names))
    canvas = _enlarge(image, zoom)
    label_map = _enlarge(np.asarray(label_map, np.int32), zoom)
    tinted = canvas.copy()
    for label, colour in enumerate(colours):
        tinted[label_map == label] = colour
    canvas = cv2.addWeighted(canvas, .35, tinted, .65, 0)
    for label, name in enumerate(names):
        mask = (label_map == label).astype(np.uint8)
        count, _, boxes, centres = cv2.connectedComponentsWithStats(mask)
        for index in range(1, count):
            if boxes[index, cv2.CC_STAT_AREA] >= 200 and label:  # names on all but the background
                x, y = centres[index]
                _write(canvas, name, int(x) - 5 * len(name), int(y) + 5, colours[label])
    return canvas


def with_title(image: np.ndarray, title: str, height: int = 28) -> np.ndarray:
    """The image under a white bar that carries ``title``."""
    bar = np.full((height, image.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, title, (6, height - 9), FONT, .5, BLACK, 1, cv2.LINE_AA)
    return np.vstack([bar, image])


def grid(rows: list[list[np.ndarray]], gap: int = 6) -> np.ndarray:
    """Images of one size side by side in rows, with white gaps."""
    def pad(image):
        return cv2.copyMakeBorder(image, 0, gap, 0, gap, cv2.BORDER_CONSTANT, value=WHITE)
    return np.vstack([np.hstack([pad(image) for image in row]) for row in rows])


def _enlarge(image, zoom):
    return np.repeat(np.repeat(image, zoom, axis=0), zoom, axis=1)


def _write(canvas, text, x, y, colour):
    """``text`` on a box of ``colour``, its lower left corner at (x, y), kept inside the canvas."""
    (width, height), _ = cv2.getTextSize(text, FONT, .42, 1)
    x = int(np.clip(x, 0, max(canvas.shape[1] - width - 4, 0)))
    y = int(np.clip(y, height + 6, canvas.shape[0] - 1))
    cv2.rectangle(canvas, (x, y - height - 6), (x + width + 4, y), colour, -1)
    cv2.putText(canvas, text, (x + 2, y - 4), FONT, .42, BLACK, 1, cv2.LINE_AA)
