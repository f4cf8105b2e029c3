"""What an evaluation found image by image, kept so that AP and mIoU can be computed again for
any weighting of the images in milliseconds.

A weight of an image is how often it counts: 1 for each gives the usual figure, the counts of a
bootstrap resample that resample's figure.
"""
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convnext_dense.datasets.coco_areas import AREAS
from convnext_dense.errors import InputError

RECALLS = np.linspace(0, 1, 101)
CHUNK = 4_000_000  # elements of a working array


class DetectionMatches:
    """A detector's result against the ground truth, matched once.

    Detections are matched by hotcoco, which gives cocoapi's matches. AP is COCO's: 101 recall
    points, IoU 0.50 to 0.95, at most 100 detections of a class an image.

    Args:
        annotations (str | Path): ground truth in COCO's format.
        detections (str | Path): detections in COCO's result format.
        kind (str): ``bbox`` or ``segm``.
        image_ids (Sequence[int], optional): the images that were evaluated; all by default.
        categories (Sequence[dict], optional): ``id`` and ``name`` of the classes that were
            evaluated, in their order; all by default.

    Attributes:
        images (tuple): ids of the images.
        classes (tuple[str]): names of the classes.

    Raises:
        InputError: a file is missing or is not of its format, or a detection is on an image that
            the annotations lack.
    """
    metric = 'AP'

    def __init__(self, annotations: str | Path, detections: str | Path, kind: str = 'bbox',
                 image_ids: Sequence[int] | None = None,
                 categories: Sequence[dict] | None = None) -> None:
        self.kind = kind
        truth = _read_json(annotations, dict)
        found = _read_json(detections, list)
        known = {image['id'] for image in truth['images']}
        self.images = tuple(sorted(known if image_ids is None else image_ids))
        for name, ids in (('the results', self.images),
                          ('detections', {item['image_id'] for item in found})):
            unknown = set(ids) - known
            if unknown:
                raise InputError(f'{detections}: {name} on {len(unknown)} images that '
                                 f'{annotations} lacks, such as id {min(unknown)}; compare '
                                 'results on the same images')
        categories = categories or sorted(truth['categories'], key=lambda item: item['id'])
        self.classes = tuple(category['name'] for category in categories)
        self._curves = self._match(truth, found, [category['id'] for category in categories])

    def _match(self, truth, found, category_ids):
        """Columns of every (area, class): see :meth:`_columns`."""
        from hotcoco import COCO, COCOeval
        ground_truth = COCO(truth)
        curves = {}
        by_cell = defaultdict(list)
        position = {image: index for index, image in enumerate(self.images)}
        if found:
            evaluation = COCOeval(ground_truth, ground_truth.load_res(found), self.kind)
            evaluation.evaluate()
            ranges = [tuple(area) for area in evaluation.params.area_rng]
            for item in evaluation.eval_imgs:
                if item is not None and item['image_id'] in position:
                    area = list(AREAS)[ranges.index(tuple(item['aRng']))]
                    by_cell[area, item['category_id']].append(item)
        objects = self._objects(truth, position)
        for area in AREAS:
            for index, category in enumerate(category_ids):
                items = sorted(by_cell[area, category], key=lambda item: position[item['image_id']])
                curves[area, index] = self._columns(items, position, objects[area, category])
        return curves

    def _objects(self, truth, position):
        """Objects of every image that count, by area and category."""
        objects: dict[tuple, np.ndarray] = defaultdict(
            lambda: np.zeros(len(position), np.int64))
        for annotation in truth.get('annotations', []):
            if (annotation.get('iscrowd') or annotation.get('ignore')
                    or annotation['image_id'] not in position):
                continue
            for area, (low, high) in AREAS.items():
                if low <= annotation['area'] <= high:
                    objects[area, annotation['category_id']][position[annotation['image_id']]] += 1
        return objects

    @staticmethod
    def _columns(items: list, position: dict, objects: np.ndarray) -> tuple[np.ndarray, ...]:
        """Detections of one class by falling score: their image, hit and ignored flags."""
        scores = np.concatenate([item['dtScores'] for item in items] or [[]])
        order = np.argsort(-scores, kind='stable')
        images = np.concatenate([[position[item['image_id']]] * len(item['dtScores'])
                                   for item in items] or [[]]).astype(np.int64)[order]

        def flags(name):
            rows = [np.array(item[name], bool).reshape(10, -1) for item in items]
            return np.concatenate(rows or [np.zeros((10, 0), bool)], axis=1)[:, order]

        ignored = flags('dtIgnore')
        return images, flags('dtMatched') & ~ignored, ignored, objects

    def average_precisions(self, weights: np.ndarray, area: str = 'all',
                           thresholds: slice = slice(None)) -> np.ndarray:
        """AP of every class for every weighting of the images.

        Args:
            weights (ndarray): whole numbers, shape (resamples, images).
            area (str): ``all``, ``small``, ``medium`` or ``large`` objects.
            thresholds (slice): which of the ten IoU thresholds.

        Returns:
            ndarray: shape (resamples, classes) in [0, 1]; NaN where a class has no object.
        """
        columns = [self._curves[area, index] for index in range(len(self.classes))]
        return np.stack([
            _average_precision(weights, images, hits, ignored, objects, thresholds)
            for images, hits, ignored, objects in columns], axis=1)

    def figure(self, weights: np.ndarray | None = None) -> np.ndarray:
        """COCO's AP in percent, for every weighting; shape (resamples, )."""
        return 100 * _mean(self.average_precisions(self._weights(weights)))

    def by_class(self) -> dict[str, float | None]:
        """AP in percent of each class, by name; None where a class has no object."""
        return dict(zip(self.classes, map(_percent, self.average_precisions(self._weights())[0])))

    def by_size(self) -> dict[str, float | None]:
        """AP in percent of small, medium and large objects; None where there are none."""
        return {area: _percent(_mean(self.average_precisions(self._weights(), area))[0])
                for area in AREAS if area != 'all'}

    def _weights(self, weights=None):
        return np.ones((1, len(self.images)), np.int64) if weights is None else weights


class SegmentationCounts:
    """A segmenter's result: pixels of each class in each image.

    Args:
        images (Sequence): names of the images.
        classes (Sequence[str]): names of the classes.
        intersection, union (array): pixels, shape (images, classes).
    """
    metric = 'mIoU'
    kind = 'mIoU'

    def __init__(self, images: Sequence[str], classes: Sequence[str], intersection: np.ndarray,
                 union: np.ndarray) -> None:
        self.images, self.classes = tuple(images), tuple(classes)
        self.intersection = np.asarray(intersection, np.float64)
        self.union = np.asarray(union, np.float64)

    def ious(self, weights: np.ndarray) -> np.ndarray:
        """IoU of every class for every weighting, shape (resamples, classes); NaN without union."""
        with np.errstate(invalid='ignore', divide='ignore'):
            return (weights @ self.intersection) / (weights @ self.union)

    def figure(self, weights: np.ndarray | None = None) -> np.ndarray:
        """mIoU in percent, for every weighting; shape (resamples, )."""
        return 100 * _mean(self.ious(self._weights(weights)))

    def by_class(self) -> dict[str, float | None]:
        """IoU in percent of each class, by name; None where it is neither present nor predicted."""
        return dict(zip(self.classes, map(_percent, self.ious(self._weights())[0])))

    def by_size(self) -> dict[str, float | None]:
        """Nothing: pixels belong to no object."""
        return {}

    def _weights(self, weights=None):
        return np.ones((1, len(self.images))) if weights is None else weights


def _average_precision(weights, images, hits, ignored, objects, thresholds):
    """AP of one class for every weighting: mean of the interpolated precision, shape (resamples,).

    Only the detections that hit matter for the envelope of the precision: between two hits the
    precision falls and the recall stays.
    """
    resamples = len(weights)
    total_objects = weights @ objects
    result = np.full(resamples, np.nan)
    chunk = max(1, CHUNK // max(1, len(images)))
    for start in range(0, resamples, chunk):
        part = slice(start, start + chunk)
        present = total_objects[part] > 0
        if not present.any():
            continue
        rows = np.flatnonzero(present) + start
        counts = weights[rows][:, images]
        wanted = _hits_needed(total_objects[rows])
        precision = [_interpolated(counts, hit, ignore, wanted)
                     for hit, ignore in zip(hits[thresholds], ignored[thresholds])]
        result[rows] = np.mean(precision, axis=0)
    return result


def _hits_needed(total_objects):
    """The fewest hits that reach each recall, in cocoapi's arithmetic; (resamples, recalls)."""
    total = total_objects[:, None]
    needed = np.ceil(RECALLS * total).astype(np.int64)
    needed -= (needed - 1) / total >= RECALLS
    return needed + (needed / total < RECALLS)


def _interpolated(counts, hit, ignored, wanted):
    """Mean precision over the recall points at one IoU threshold, shape (resamples, )."""
    resamples = len(counts)
    if not hit.any():
        return np.zeros(resamples)
    true = np.cumsum(counts[:, hit], axis=1)
    seen = np.cumsum(np.where(ignored, 0, counts) if ignored.any() else counts, axis=1)[:, hit]
    precision = true / np.maximum(seen, 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # one search in all rows at once: each row's numbers lie above those of the rows before
    lift = (np.arange(resamples) * (max(true[:, -1].max(), wanted.max()) + 1))[:, None]
    found = np.searchsorted((true + lift).ravel(), (wanted + lift).ravel()).reshape(wanted.shape)
    reached = wanted <= true[:, -1:]
    values = envelope.ravel()[np.minimum(found, envelope.size - 1)]
    return np.where(reached, values, 0).mean(axis=1)


def _mean(values):
    """Mean over the classes that have objects; NaN where none has."""
    counted = ~np.isnan(values)
    with np.errstate(invalid='ignore'):
        return np.where(counted, values, 0).sum(axis=1) / counted.sum(axis=1)


def _percent(value):
    return None if np.isnan(value) else 100 * float(value)


def _read_json(path, kind):
    if not Path(path).is_file():
        raise InputError(f'{path}: no such file')
    try:
        content = json.loads(Path(path).read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path}: not JSON: {error}') from error
    if not isinstance(content, kind):
        raise InputError(f'{path}: a {type(content).__name__}, expected '
                         f'{"annotations" if kind is dict else "a list of detections"} in '
                         "COCO's format")
    return content
