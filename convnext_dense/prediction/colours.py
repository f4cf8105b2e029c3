"""Colours for any number of classes, each as far from the ones before as can be."""
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

STEPS = 12  # of each channel among the candidates
#: what no class should look like: black, white and the greys of photographs
TAKEN = [(value, value, value) for value in (0, 64, 128, 192, 255)]
FIRST = (48, 96, 255)  # BGR: a red that stands out of most images
Colour = tuple[int, int, int]


@lru_cache
def class_colours(count: int) -> list[Colour]:
    """``count`` BGR colours, each of three values in [0, 255].

    The first colours are the same for any ``count``. Each is the candidate whose smallest
    distance in CIELAB to all before is largest.
    """
    axis = np.linspace(0, 255, STEPS).round()
    candidates = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    saturation = candidates.max(1) - candidates.min(1)
    candidates = candidates[(saturation >= 100) & (candidates.max(1) >= 140)]
    places = _lab(candidates)
    distances = np.min([np.linalg.norm(places - _lab(np.array([colour], float)), axis=1)
                        for colour in [*TAKEN, FIRST]], 0)
    colours: list[Colour] = [FIRST]
    while len(colours) < count:
        best = int(distances.argmax())
        blue, green, red = (int(value) for value in candidates[best])
        colours.append((blue, green, red))
        distances = np.minimum(distances, np.linalg.norm(places - places[best], axis=1))
    return colours[:count]


def colours_of(names: Sequence[str], palette: Sequence | None) -> list[Colour]:
    """BGR colour of each class: those of an RGB palette, or the toolkit's own where it is None."""
    if palette:
        return [(int(blue), int(green), int(red)) for red, green, blue in palette]
    return class_colours(len(names))


def _lab(colours):
    """CIELAB coordinates of BGR colours, (N, 3)."""
    return cv2.cvtColor((colours / 255).astype(np.float32)[None], cv2.COLOR_BGR2LAB)[0]


def text_colour(colour: Colour) -> Colour:
    """Black or white, whichever reads better on a BGR colour."""
    blue, green, red = colour
    return (0, 0, 0) if .114 * blue + .587 * green + .299 * red > 140 else (255, 255, 255)
