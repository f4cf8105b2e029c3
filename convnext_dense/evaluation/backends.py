"""COCO's matching and accumulation by one of three libraries, chosen by name.

``hotcoco`` (Rust) is the default: exact and the fastest. ``pycocotools`` is the reference,
``faster-coco-eval`` (C++) a third opinion. All return the same arrays, and every figure is made
from those arrays in :mod:`convnext_dense.evaluation.coco_figures`, so that no library's own
reading of ``maxDets`` matters.
"""
import io
import json
from contextlib import redirect_stdout
from importlib import import_module
from typing import NamedTuple

import numpy as np

from convnext_dense.errors import InputError

# cocoapi's ranges, in pixels
AREAS = {'all': (0, 1e10), 'small': (0, 32 ** 2), 'medium': (32 ** 2, 96 ** 2),
         'large': (96 ** 2, 1e10)}


class Curves(NamedTuple):
    """What cocoapi accumulates; -1 where a category has no annotation of that size.

    Attributes:
        precision (numpy.ndarray): (IoU thresholds, 101 recalls, categories, areas, maxDets).
        recall (numpy.ndarray): (IoU thresholds, categories, areas, maxDets).
        scores (numpy.ndarray): score at each point of ``precision``.
        category_ids (list[int]): ids along the axis of categories, ascending.
    """
    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray
    category_ids: list


class _Backend:
    """Ground truth held by one library.

    Args:
        source (str | dict): annotation file, or the data set itself in COCO's layout.

    Attributes:
        images (dict[int, dict]): by id.
        categories (list[dict]): in the file's order, which is mmdet's order of labels.
    """

    def evaluate(self, detections, iou_type, image_ids, category_ids, iou_thresholds, max_dets,
                 use_categories=True):
        """Match ``detections`` with the annotations and accumulate.

        Args:
            detections (Detections): of images and categories of the data set.
            iou_type (str): ``bbox`` or ``segm``.
            image_ids, category_ids (list[int]): what is evaluated.
            iou_thresholds (Sequence[float]): IoU thresholds.
            max_dets (Sequence[int]): numbers of detections an image and category.
            use_categories (bool): False matches whatever the category (class-agnostic proposals).

        Returns:
            Curves
        """
        evaluator = self._evaluator(self._results(detections, iou_type), iou_type)
        # hotcoco hands out its parameters by value: each is set as a whole, none is appended to
        params = evaluator.params
        params.imgIds = sorted(image_ids)
        # without categories ties rank in the order of their ids here
        params.catIds = sorted(category_ids) if use_categories else list(category_ids)
        params.iouThrs = np.asarray(iou_thresholds, float)
        params.maxDets = sorted(int(limit) for limit in max_dets)
        params.useCats = 1 if use_categories else 0
        evaluator.evaluate()
        evaluator.accumulate()
        arrays = evaluator.eval
        kinds = len(category_ids) if use_categories else 1
        shape = (len(params.iouThrs), 101, kinds, len(AREAS), len(params.maxDets))
        return Curves(np.asarray(arrays['precision']).reshape(shape),
                      np.asarray(arrays['recall']).reshape(shape[:1] + shape[2:]),
                      np.asarray(arrays['scores']).reshape(shape),
                      sorted(category_ids) if use_categories else [])


class Hotcoco(_Backend):
    def __init__(self, source):
        import hotcoco
        self._library = hotcoco
        self._truth = hotcoco.COCO(source)
        self.warnings = list(self._truth.load_warnings)
        self.images = self._truth.imgs
        self.categories = list(self._truth.cats.values())

    def annotations(self):
        return list(self._truth.anns.values())

    def _results(self, detections, iou_type):
        columns = np.column_stack([detections.image_ids, detections.boxes, detections.scores,
                                   detections.category_ids]).astype(float)
        if iou_type == 'bbox':
            return self._truth.load_res(columns)
        results = self._truth.load_res(columns, segmentation=detections.masks)
        if len(detections):
            # rows have boxes, but a mask's size is that of the mask
            areas = self._library.mask.area(detections.masks)
            results.update_anns(ids=np.arange(1, len(detections) + 1), area=areas.astype(float))
        return results

    def _evaluator(self, results, iou_type):
        return self._library.COCOeval(self._truth, results, iou_type)


class _PythonBackend(_Backend):
    """pycocotools, or a library with its interface."""

    def __init__(self, source):
        if isinstance(source, dict):
            dataset = json.loads(json.dumps(source, default=_plain))
        else:
            with open(source) as file:
                dataset = json.load(file)
        dataset.setdefault('annotations', [])
        if any(ann['id'] == 0 for ann in dataset['annotations']):
            # these libraries mark a match by the annotation's id and take 0 for none
            for number, ann in enumerate(dataset['annotations'], 1):
                ann['id'] = number
        self.warnings = []
        self._truth = self._load(dataset)
        self.images = self._truth.imgs
        self.categories = dataset['categories']

    def annotations(self):
        return list(self._truth.anns.values())

    def _load(self, dataset):
        with redirect_stdout(io.StringIO()):
            coco = self.COCO()
            coco.dataset = dataset
            coco.createIndex()
        return coco

    def _results(self, detections, iou_type):
        records = list(detections.records(with_boxes=iou_type == 'bbox'))
        if not records:
            return self._load({'images': self._truth.dataset['images'], 'annotations': [],
                               'categories': self.categories})
        with redirect_stdout(io.StringIO()):
            return self._truth.loadRes(records)

    def _evaluator(self, results, iou_type):
        return self.COCOeval(self._truth, results, iou_type)

    def evaluate(self, *args, **kwargs):
        with redirect_stdout(io.StringIO()):
            return super().evaluate(*args, **kwargs)


class Pycocotools(_PythonBackend):
    def __init__(self, source):
        self.COCO = import_module('pycocotools.coco').COCO
        self.COCOeval = import_module('pycocotools.cocoeval').COCOeval
        super().__init__(source)


class FasterCocoEval(_PythonBackend):
    def __init__(self, source):
        try:
            library = import_module('faster_coco_eval')
        except ImportError as error:
            raise InputError("backend 'faster-coco-eval' is not installed: pip install "
                             'faster-coco-eval, or use hotcoco') from error
        self.COCO, self.COCOeval = library.COCO, library.COCOeval_faster
        super().__init__(source)


BACKENDS = {'hotcoco': Hotcoco, 'pycocotools': Pycocotools, 'faster-coco-eval': FasterCocoEval}


def load_ground_truth(backend, source):
    """The annotations ``source`` (file or dict) held by the library named ``backend``.

    Raises:
        InputError: no such backend, or annotations that cannot be read.
    """
    if backend not in BACKENDS:
        raise InputError(f'CocoMetric: backend {backend!r} is none of {", ".join(BACKENDS)}')
    try:
        return BACKENDS[backend](source)
    except InputError:
        raise
    except Exception as error:  # every library reports a bad file in its own way
        name = source if isinstance(source, str) else 'the annotations'
        raise InputError(f'{name}: not a COCO annotation file that {backend} can read: '
                         f'{type(error).__name__}: {error}') from error


def _plain(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f'{type(value).__name__} in a data set')
