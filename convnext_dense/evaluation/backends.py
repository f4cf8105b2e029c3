"""COCO's matching and accumulation by one of three libraries, chosen by name.

``hotcoco`` (Rust) is the default: exact and the fastest. ``pycocotools`` is the reference,
``faster-coco-eval`` (C++) a third opinion. All get the same arrays of the toolkit's own reader,
with small whole numbers in place of the ids, and all return the same arrays; every figure is made
from those in :mod:`convnext_dense.evaluation.coco_figures`, so that no library's own reading of
files, ids or ``maxDets`` matters.

Longer than 300 lines: the three libraries are each a few lines, which are read side by side.
"""
import io
import json
from array import array
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from convnext_dense.datasets.coco_areas import AREAS
from convnext_dense.datasets.coco_file import CocoFile, Id, read_coco
from convnext_dense.errors import InputError
from convnext_dense.evaluation.detections import Detections, id_array

TOGETHER = 100_000  # boxes that a library is given at a time


class Curves(NamedTuple):
    """What cocoapi accumulates; -1 where a category has no annotation of that size.

    Attributes:
        precision (numpy.ndarray): (IoU thresholds, 101 recalls, categories, areas, maxDets).
        recall (numpy.ndarray): (IoU thresholds, categories, areas, maxDets).
        scores (numpy.ndarray): score at each point of ``precision``.
        category_ids (list[int | str]): ids along the axis of categories, ascending.
    """
    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray
    category_ids: list


class GroundTruth:
    """Annotations to evaluate against, in the hands of one library.

    Args:
        backend: name of the library.
        content: the annotations.

    Attributes:
        content (CocoFile): the annotations.
    """

    def __init__(self, backend: str, content: CocoFile) -> None:
        self._library = BACKENDS[backend]()
        self.content = content
        self._images, self._categories = _Numbers(content.image_ids), _Numbers(
            content.category_ids)

    @cached_property
    def images(self) -> dict[Id, dict]:
        """The images by id, in the file's order."""
        return {image_id: self.content.image(place)
                for place, image_id in enumerate(self.content.image_ids)}

    @property
    def categories(self) -> list[dict]:
        """``id`` and ``name`` of the categories, in the file's order."""
        return [dict(id=key, name=name) for key, name in zip(
            self.content.category_ids, self.content.category_names, strict=True)]

    def annotations(self) -> list[dict]:
        """The annotations in COCO's layout."""
        return self.content.annotations()

    def place(self, image_id: Id) -> int | None:
        """The position of an image in the file, None where it is not there."""
        return self._images.places.get(image_id)

    def evaluate(self, detections: Detections, iou_type: str, image_ids: Sequence[Id],
                 category_ids: Sequence[Id], iou_thresholds: Sequence[float] | np.ndarray,
                 max_dets: Sequence[int], use_categories: bool = True) -> Curves:
        """Match ``detections`` with the annotations and accumulate.

        Args:
            detections: of images and categories of the data set.
            iou_type: ``bbox`` or ``segm``.
            image_ids, category_ids: what is evaluated.
            iou_thresholds: IoU thresholds.
            max_dets: numbers of detections an image and category.
            use_categories: False matches whatever the category (class-agnostic proposals).
        """
        content = self.content
        if iou_type == 'segm' and len(content.masks) != len(content.ids):
            raise InputError(f'{content.name}: its masks were not read')
        settings = dict(iouThrs=np.asarray(iou_thresholds, float), useCats=int(use_categories),
                        maxDets=sorted(int(limit) for limit in max_dets))
        columns = (self._images.of(detections.image_ids),
                   self._categories.of(detections.category_ids))
        images, wanted = self._images.of(image_ids), self._categories.of(category_ids)
        order = np.argsort(wanted) if use_categories else np.arange(len(wanted))
        # categories do not touch one another: some at a time take a part of the memory, which
        # masks have in Python already, and are read fastest in their own order
        groups = _groups(wanted[order], columns[1]) if use_categories and iou_type == 'bbox' \
            else [wanted[order]]
        parts = [self._match(detections, columns, group, iou_type, images, settings)
                 for group in groups]
        precision, recall, scores = (np.concatenate(arrays, axis=-3)
                                     for arrays in zip(*parts, strict=True))
        return Curves(precision, recall, scores, [category_ids[place] for place in order.tolist()]
                      if use_categories else [])

    def _match(self, detections: Detections, columns: tuple[np.ndarray, np.ndarray],
               categories: np.ndarray, iou_type: str, images: np.ndarray,
               settings: dict) -> list[np.ndarray]:
        """Precision, recall and scores of some categories, given by their numbers."""
        content, library, masks = self.content, self._library, iou_type == 'segm'
        of_truths, of_founds = self._categories.numbers[content.categories], columns[1]
        truths, founds = (np.flatnonzero(np.isin(numbers, categories)) if settings['useCats']
                          else np.arange(len(numbers)) for numbers in (of_truths, of_founds))
        true_images, found_images = self._images.numbers[content.images[truths]], columns[0][founds]
        present = np.zeros(len(content.image_ids) + 1, bool)
        present[true_images] = present[found_images] = True
        chosen = images[present[images]] if present.any() else images[:1]
        listed = np.sort(chosen)
        if masks:
            sizes = content.sizes[self._images.order[listed - 1]].tolist()
            entries = [dict(id=number, width=width, height=height) for number, (width, height)
                       in zip(listed.tolist(), sizes, strict=True)]
        else:
            entries = [dict(id=number) for number in listed.tolist()]
        truth = library.load(
            entries,
            [dict(id=number, name=str(number)) for number in sorted(categories.tolist())],
            true_images, of_truths[truths], content.boxes[truths], content.areas[truths],
            content.crowds[truths],
            map(content.mask, truths.tolist()) if masks else None)
        results = library.results(
            truth, found_images, of_founds[founds], detections.boxes[founds],
            detections.scores[founds],
            [detections.masks[row] for row in founds.tolist()] if masks and detections.masks
            is not None else None)
        evaluator = library.evaluator(truth, results, iou_type)
        # hotcoco hands out its parameters by value: each is set as a whole, none is appended to
        params = evaluator.params
        params.imgIds = listed.tolist()
        # without useCats the order of these ids decides between equal scores
        params.catIds = categories.tolist()
        for name, value in settings.items():
            setattr(params, name, value)
        with redirect_stdout(io.StringIO()):
            evaluator.evaluate()
            evaluator.accumulate()
        arrays = evaluator.eval
        shape = (len(params.iouThrs), 101, len(categories) if settings['useCats'] else 1,
                 len(AREAS), len(params.maxDets))
        return [np.asarray(arrays['precision']).reshape(shape),
                np.asarray(arrays['recall']).reshape(shape[:1] + shape[2:]),
                np.asarray(arrays['scores']).reshape(shape)]


def _groups(categories: np.ndarray, found: np.ndarray) -> list[np.ndarray]:
    """Neighbouring categories that together have about ``TOGETHER`` detections at most."""
    counts = np.bincount(found, minlength=int(categories.max(initial=0)) + 1)[categories]
    group = (np.cumsum(counts) - counts) // TOGETHER
    return np.split(categories, np.flatnonzero(np.diff(group)) + 1)


class _Numbers:
    """Small whole numbers in place of ids, in the ids' order: numbers first, then texts.

    The libraries keep ids in floats, or compare them with 0; their order decides between equal
    scores, so that it is kept.
    """

    def __init__(self, ids: Sequence[Id]) -> None:
        self.order = np.array(sorted(range(len(ids)), key=lambda place: (
            isinstance(ids[place], str), ids[place])), np.int64)
        self.numbers = np.empty(len(ids), np.int64)
        self.numbers[self.order] = np.arange(1, len(ids) + 1)
        self.keys = ids
        self.places = {key: place for place, key in enumerate(ids)}

    @cached_property
    def _ascending(self) -> np.ndarray:
        return id_array([self.keys[place] for place in self.order.tolist()])

    def of(self, ids: Sequence[Id] | np.ndarray) -> np.ndarray:
        """The numbers of ids, which must be known."""
        if ids is self.keys:
            return self.numbers
        array = ids if isinstance(ids, np.ndarray) else id_array(ids)
        if array.dtype == self._ascending.dtype == np.int64:
            ranks = np.searchsorted(self._ascending, array)
            if len(array) and (self._ascending.take(ranks, mode='clip') != array).any():
                raise KeyError('an id that the annotations do not list')
            return ranks + 1
        places = np.fromiter((self.places[key] for key in array.tolist()), np.int64, len(array))
        return self.numbers[places] if len(places) else places


class _Hotcoco:
    """hotcoco, which takes columns."""

    def __init__(self) -> None:
        self.library = import_module('hotcoco')

    def load(self, images, categories, image_ids, category_ids, boxes, areas, crowds, masks):
        return self.library.COCO.from_arrays(
            images, categories, image_ids, category_ids, boxes,
            ids=np.arange(1, len(boxes) + 1), area=areas, iscrowd=crowds.astype(np.int64),
            segmentation=None if masks is None else [_compact(mask) for mask in masks])

    def results(self, truth, image_ids, category_ids, boxes, scores, masks):
        columns = np.column_stack([image_ids, boxes, scores, category_ids]).astype(float)
        if masks is None:
            return truth.load_res(columns)
        results = truth.load_res(columns, segmentation=masks)
        if len(masks):
            # rows have boxes, but a mask's size is that of the mask
            areas = self.library.mask.area(masks)
            results.update_anns(ids=np.arange(1, len(masks) + 1), area=areas.astype(float))
        return results

    def evaluator(self, truth, results, iou_type):
        return self.library.COCOeval(truth, results, iou_type)


def _compact(mask: Any) -> Any:
    """Polygons as arrays, which take a quarter of the memory of lists of Python's floats."""
    return [array('d', polygon) for polygon in mask] if isinstance(mask, list) else mask


class _PythonLibrary:
    """pycocotools, or a library with its interface, which takes dicts."""

    def __init__(self, coco: Any, coco_eval: Any) -> None:
        self.COCO, self.COCOeval = coco, coco_eval

    def _index(self, dataset):
        with redirect_stdout(io.StringIO()):
            coco = self.COCO()
            coco.dataset = dataset
            coco.createIndex()
        return coco

    def load(self, images, categories, image_ids, category_ids, boxes, areas, crowds, masks):
        annotations = [
            dict(id=number, image_id=image, category_id=category, bbox=box, area=area,
                 iscrowd=int(crowd))
            for number, (image, category, box, area, crowd) in enumerate(zip(
                image_ids.tolist(), category_ids.tolist(), boxes.tolist(), areas.tolist(),
                crowds.tolist(), strict=True), 1)]
        for annotation, mask in zip(annotations, masks or ()):
            annotation['segmentation'] = mask
        return self._index(dict(images=images, categories=categories, annotations=annotations))

    def results(self, truth, image_ids, category_ids, boxes, scores, masks):
        if not len(scores):
            return self._index(dict(truth.dataset, annotations=[]))
        records = [dict(image_id=image, category_id=category, score=score)
                   for image, category, score in zip(
                       image_ids.tolist(), category_ids.tolist(), scores.tolist(), strict=True)]
        for record, box, mask in zip(records, boxes.tolist(), masks or [None] * len(records),
                                     strict=True):
            # cocoapi takes the area of a detection from its box, where it has one
            record.update(dict(bbox=box) if mask is None else dict(segmentation=mask))
        with redirect_stdout(io.StringIO()):
            return truth.loadRes(records)

    def evaluator(self, truth, results, iou_type):
        return self.COCOeval(truth, results, iou_type)


def _pycocotools() -> _PythonLibrary:
    return _PythonLibrary(import_module('pycocotools.coco').COCO,
                          import_module('pycocotools.cocoeval').COCOeval)


def _faster_coco_eval() -> _PythonLibrary:
    try:
        library: ModuleType = import_module('faster_coco_eval')
    except ImportError as error:
        raise InputError("backend 'faster-coco-eval' is not installed: pip install "
                         'faster-coco-eval, or use hotcoco') from error
    return _PythonLibrary(library.COCO, library.COCOeval_faster)


BACKENDS: dict[str, Any] = {'hotcoco': _Hotcoco, 'pycocotools': _pycocotools,
            'faster-coco-eval': _faster_coco_eval}


def load_ground_truth(backend: str, source: str | dict, masks: bool = True) -> GroundTruth:
    """The annotations of a file, or of a dict in COCO's layout, for the library named ``backend``.

    Raises:
        InputError: no such backend, or annotations that cannot be used.
    """
    check_backend(backend)
    if isinstance(source, dict):
        text = json.dumps(source, default=_plain)
        content = CocoFile('the annotations of the data samples', text, masks)
    else:
        content = read_coco(source, masks=masks)
    content.refuse(files=False)
    return GroundTruth(backend, content)


def check_backend(backend: str) -> None:
    """Raise InputError for a backend that does not exist."""
    if backend not in BACKENDS:
        raise InputError(f'CocoMetric: backend {backend!r} is none of {", ".join(BACKENDS)}')


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f'{type(value).__name__} in a data set')
