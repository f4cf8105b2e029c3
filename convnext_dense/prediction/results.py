"""What a model found in an image: :class:`Instances`, :class:`LabelMap` or :class:`Panoptic`.

Longer than 300 lines: the three kinds of result share how they are drawn, saved and written.
"""
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convnext_dense.errors import InputError
from convnext_dense.prediction.colours import Colour, colours_of


class MaskCrop(NamedTuple):
    """A mask without the empty rows and columns around it.

    Attributes:
        left, top (int): where it lies in the image, in pixels.
        pixels (ndarray): bool, (h, w).
    """
    left: int
    top: int
    pixels: np.ndarray

    def shifted(self, x: int, y: int) -> 'MaskCrop':
        """The mask moved to the right and down."""
        return MaskCrop(self.left + x, self.top + y, self.pixels)

    def full(self, height: int, width: int) -> np.ndarray:
        """The mask in the image: bool, (height, width)."""
        mask = np.zeros((height, width), bool)
        rows, columns = self.pixels.shape
        mask[self.top:self.top + rows, self.left:self.left + columns] = self.pixels
        return mask


def crop_mask(mask: np.ndarray) -> MaskCrop:
    """A mask of shape (H, W), bool, without what is empty around it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return MaskCrop(0, 0, np.zeros((0, 0), bool))
    top, left = int(rows[0]), int(columns[0])
    return MaskCrop(left, top, mask[top:rows[-1] + 1, left:columns[-1] + 1].copy())


@dataclass(frozen=True, eq=False)
class Result:
    """What the results of all tasks have.

    Attributes:
        image (ndarray): as it was read: (H, W, 3), BGR, of the file's own size.
        path (str | None): the file; None for an image from memory.
        names (tuple[str]): of all classes of the model.
        palette (list | None): RGB colours of the classes; None is the toolkit's own.
    """
    image: np.ndarray = field(repr=False)
    path: str | None
    names: tuple = field(repr=False)
    palette: list | None = field(repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        height, width = self.image.shape[:2]
        return height, width

    @cached_property
    def colours(self) -> list[Colour]:
        """BGR colour of each class, a tuple of ints."""
        return colours_of(self.names, self.palette)

    def plot(self) -> np.ndarray:
        """The image with the result drawn on it: a new uint8 array (H, W, 3) in BGR order."""
        raise NotImplementedError

    def save(self, path: str | Path) -> None:
        """Write the drawn image to a file, whose suffix names the format.

        Raises:
            InputError: it cannot be written.
        """
        from convnext_dense.prediction.writing import write_image
        write_image(path, self.plot())


@dataclass(frozen=True, eq=False)
class Instances(Result):
    """Objects that a detector found, by falling score.

    Attributes:
        boxes (ndarray): float32, (N, 4): x1, y1, x2, y2 in pixels of the image.
        scores (ndarray): float32, (N, ), in [0, 1].
        labels (ndarray): int64, (N, ), indices into ``names``.
        mask_crops (list[MaskCrop] | None): of the objects; None for a model without masks.
    """
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    mask_crops: list | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def masks(self) -> np.ndarray | None:
        """bool, (N, H, W), made at each call; None for a model without masks."""
        if self.mask_crops is None:
            return None
        height, width = self.size
        masks = np.zeros((len(self), height, width), bool)
        for mask, crop in zip(masks, self.mask_crops):
            rows, columns = crop.pixels.shape
            mask[crop.top:crop.top + rows, crop.left:crop.left + columns] = crop.pixels
        return masks

    @property
    def class_names(self) -> list[str]:
        """The class of each object: list[str]."""
        return [self.names[label] for label in self.labels.tolist()]

    def above(self, threshold: float) -> 'Instances':
        """The objects whose score is at least ``threshold``: another Instances."""
        return self.take(np.flatnonzero(self.scores >= threshold))

    def take(self, indices: np.ndarray) -> 'Instances':
        """The objects at ``indices``: another Instances."""
        crops = None if self.mask_crops is None else [self.mask_crops[i] for i in indices]
        return Instances(self.image, self.path, self.names, self.palette, self.boxes[indices],
                         self.scores[indices], self.labels[indices], crops)

    def plot(self) -> np.ndarray:
        from convnext_dense.prediction.drawing import draw_instances
        return draw_instances(self.image, self.boxes, self.labels, self.names, self.colours,
                              self.scores, self.mask_crops)

    def to_coco(self, image_id: int | str = 0, category_ids: Sequence | None = None,
                first_id: int = 1) -> list[dict]:
        """The objects as annotations in COCO's format, each with a ``score``.

        Args:
            image_id (int | str): of the image.
            category_ids (Sequence | None): id of each class; None counts from 1.
            first_id (int): of the first annotation.

        Returns:
            list[dict]: ``bbox`` is x, y, width, height; ``segmentation`` is run-length encoded.
        """
        from convnext_dense.prediction.writing import run_lengths
        annotations: list[dict] = []
        for index, (box, score, label) in enumerate(zip(
                self.boxes.tolist(), self.scores.tolist(), self.labels.tolist())):
            left, top, right, bottom = box
            annotation = dict(
                id=first_id + index, image_id=image_id,
                category_id=category_ids[label] if category_ids else label + 1,
                bbox=[left, top, right - left, bottom - top],
                area=(right - left) * (bottom - top), iscrowd=0, score=score)
            if self.mask_crops is not None:
                crop = self.mask_crops[index]
                annotation.update(segmentation=run_lengths(crop.full(*self.size)),
                                  area=int(crop.pixels.sum()))
            annotations.append(annotation)
        return annotations

    def to_supervision(self) -> Any:
        """The objects as ``supervision.Detections``; needs the package supervision."""
        return supervision().Detections(
            xyxy=self.boxes, confidence=self.scores, class_id=self.labels, mask=self.masks,
            data=dict(class_name=np.array(self.class_names, dtype=str)))


@dataclass(frozen=True, eq=False)
class LabelMap(Result):
    """The class of each pixel, from a segmenter.

    Attributes:
        labels (ndarray): (H, W), uint8 or, with more than 256 classes, uint16: indices into
            ``names``.
    """
    labels: np.ndarray

    @cached_property
    def pixels(self) -> np.ndarray:
        """Number of pixels of each class: int64, one value a class."""
        return np.bincount(self.labels.ravel(), minlength=len(self.names))

    @property
    def class_names(self) -> list[str]:
        """The classes that the image has: list[str], in the order of ``names``."""
        return [self.names[label] for label in np.flatnonzero(self.pixels).tolist()]

    def plot(self) -> np.ndarray:
        from convnext_dense.prediction.drawing import draw_label_map
        return draw_label_map(self.image, self.labels, self.names, self.colours)

    def coloured(self) -> np.ndarray:
        """The label map in the classes' colours: uint8, (H, W, 3), BGR."""
        return np.array(self.colours, np.uint8)[self.labels]

    def to_coco(self, image_id: int | str = 0, category_ids: Sequence | None = None,
                first_id: int = 1) -> list[dict]:
        """One annotation in COCO's format for each class that the image has.

        The arguments and returns are those of :meth:`Instances.to_coco`, without scores.
        """
        from convnext_dense.prediction.writing import run_lengths
        annotations: list[dict] = []
        for label in np.flatnonzero(self.pixels).tolist():
            mask = self.labels == label
            crop = crop_mask(mask)
            height, width = crop.pixels.shape
            annotations.append(dict(
                id=first_id + len(annotations), image_id=image_id,
                category_id=category_ids[label] if category_ids else label + 1,
                bbox=[crop.left, crop.top, width, height], area=int(self.pixels[label]),
                iscrowd=0, segmentation=run_lengths(mask)))
        return annotations

    def to_supervision(self) -> Any:
        """One mask a class that the image has, as ``supervision.Detections``."""
        sv = supervision()
        present = np.flatnonzero(self.pixels)
        masks = self.labels[None] == present[:, None, None].astype(self.labels.dtype)
        return sv.Detections(
            xyxy=sv.mask_to_xyxy(masks).astype(np.float32), mask=masks, class_id=present,
            data=dict(class_name=np.array(self.class_names, dtype=str)))


@dataclass(frozen=True, eq=False)
class Panoptic(LabelMap):
    """Things, each on its own, and stuff, from a panoptic segmenter.

    Pixels of no segment have the label ``len(names)`` and the number 0.

    Attributes:
        segments (ndarray): (H, W), int32: the number of the segment that each pixel belongs to;
            that of stuff is the same for all of its regions.
    """
    segments: np.ndarray

    @cached_property
    def pixels(self) -> np.ndarray:
        """Number of pixels of each class: int64, one value a class."""
        return np.bincount(self.labels.ravel(), minlength=len(self.names))[:len(self.names)]

    def numbers(self) -> list[int]:
        """The numbers of the segments: list[int], rising, without 0."""
        return [number for number in np.unique(self.segments).tolist() if number]

    def label_of(self, number: int) -> int:
        """The class of a segment, an index into ``names``."""
        return int(self.labels[self.segments == number][0])

    def plot(self) -> np.ndarray:
        from convnext_dense.prediction.drawing import draw_label_map, draw_outlines
        drawn = draw_label_map(self.image, self.labels, self.names, self.colours)
        return draw_outlines(drawn, self.segments)

    def coloured(self) -> np.ndarray:
        """The labels in the classes' colours, no segment in black: uint8, (H, W, 3), BGR."""
        return np.array([*self.colours, (0, 0, 0)], np.uint8)[
            np.minimum(self.labels, len(self.names))]

    def to_coco(self, image_id: int | str = 0, category_ids: Sequence | None = None,
                first_id: int = 1) -> list[dict]:
        """One annotation in COCO's format for each segment.

        The arguments and returns are those of :meth:`Instances.to_coco`, without scores.
        """
        from convnext_dense.prediction.writing import run_lengths
        annotations: list[dict] = []
        for number in self.numbers():
            mask, label = self.segments == number, self.label_of(number)
            crop = crop_mask(mask)
            height, width = crop.pixels.shape
            annotations.append(dict(
                id=first_id + len(annotations), image_id=image_id,
                category_id=category_ids[label] if category_ids else label + 1,
                bbox=[crop.left, crop.top, width, height], area=int(mask.sum()), iscrowd=0,
                segmentation=run_lengths(mask)))
        return annotations

    def to_supervision(self) -> Any:
        """One mask a segment, as ``supervision.Detections``."""
        sv = supervision()
        numbers = self.numbers()
        masks = self.segments[None] == np.array(numbers, np.int32)[:, None, None]
        labels = np.array([self.label_of(number) for number in numbers], int)
        return sv.Detections(
            xyxy=sv.mask_to_xyxy(masks).astype(np.float32), mask=masks, class_id=labels,
            data=dict(class_name=np.array([self.names[label] for label in labels], dtype=str)))


def supervision() -> Any:
    """The optional package supervision.

    Raises:
        InputError: it is not installed.
    """
    try:
        import supervision as package
    except ImportError as error:
        raise InputError("to_supervision needs the package supervision, which is not there: "
                         "pip install 'convnext_dense[supervision]'") from error
    return package
