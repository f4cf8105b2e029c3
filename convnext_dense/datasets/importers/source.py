"""What an importer reads: images with their instances or label maps, before anything is written."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

SPLITS = ('train', 'val', 'test')
IGNORED = 255  # value of ignored pixels in a written label map


class Instance(NamedTuple):
    """One object of an image.

    Attributes:
        name: its class.
        box: (x, y, width, height) in pixels, the left upper corner of the image being (0, 0).
        mask: polygons as ``[[x, y, x, y, ...], ...]``, a COCO RLE, or None for a box alone.
        crowd: a region of objects that training and evaluation leave out.
        area: as the source states it, in pixels; None where it does not.
        where: how messages name it.
    """
    name: str
    box: tuple[float, float, float, float]
    mask: list | dict | None = None
    crowd: bool = False
    area: float | None = None
    where: str = ''


@dataclass
class ImageRecord:
    """One image.

    Attributes:
        path: the image, or the file that holds it (``embedded``).
        name: path below the folder of its split, with ``/``; unique in its split.
        split: train, val or test as the source says, or None.
        size: (width, height) in pixels: as the source states it, later as it is loaded.
        instances: its objects.
        label_map: the file with its label map.
        embedded: reads the image's bytes where ``path`` is not an image.
    """
    path: Path
    name: str
    split: str | None = None
    size: tuple[int, int] | None = None
    instances: list[Instance] = field(default_factory=list)
    label_map: Path | None = None
    embedded: Callable[[], bytes] | None = None


@dataclass
class Source:
    """Everything that was read.

    Attributes:
        format: what it was recognised as, in words.
        classes: class names in label order.
        images: the images.
        notes: one sentence for each kind of repair, with its number and an example.
        labels_of: for label maps: the class numbers (H, W) uint8 of a file, 255 being ignored;
            None for instances.
        linkable: label maps that are in the toolkit's form as they are.
    """
    format: str
    classes: list[str]
    images: list[ImageRecord]
    notes: list[str] = field(default_factory=list)
    labels_of: Callable[[Path], np.ndarray] | None = None
    linkable: bool = False

    @property
    def task(self) -> str:
        """``labels``, ``masks`` (every instance has one) or ``boxes``."""
        if self.labels_of:
            return 'labels'
        masks = [instance.mask is not None
                 for image in self.images for instance in image.instances]
        return 'masks' if masks and all(masks) else 'boxes'


class Repairs:
    """Repairs of one source, counted by kind, each with its first example."""

    def __init__(self) -> None:
        self._found: dict[str, list] = {}

    def add(self, what: str, example: object) -> None:
        """Count one repair; ``what`` says in plural what was found and what was done."""
        entry = self._found.setdefault(what, [0, example])
        entry[0] += 1

    def count(self, what: str) -> int:
        return self._found.get(what, [0])[0]

    def notes(self) -> list[str]:
        """``['3 boxes that leave their image: cut at its border (the first: ...)']``"""
        return [f'{count} {what} (the first: {example})'
                for what, (count, example) in self._found.items()]
