"""Naming the errors of a detector in an image: missed, false, box, class or mask."""
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from hotcoco import mask as hotcoco_mask

from convnext_dense.evaluation.backends import GroundTruth
from convnext_dense.evaluation.detections import Detections

ERRORS = ('missed', 'false', 'box', 'class', 'mask')
# a detection that overlaps less lies on background (TIDE, Bolya et al., ECCV 2020)
BACKGROUND_IOU = 0.1
# what is shown: a detection with a lower score is not drawn by mmdet's visualizer either
SCORE = 0.3
IOU = 0.5


class ImageErrors:
    """Errors and confusions of one image's detections above a score.

    Best score first, each detection takes the free object of its class that it overlaps most, by
    IoU 0.5 at least: it is right, or a ``mask`` error where the masks overlap less than that. The
    others are

    - ``class``: it overlaps a free object of another class by 0.5;
    - ``box``: it overlaps a free object of its class by 0.1;
    - ``false``: neither; a second detection of an object is false too.

    An object that no detection came near in these ways is ``missed``. Detections on a crowd of
    their class are neither right nor wrong.

    Args:
        boxes (numpy.ndarray): (n, 4) left, top, width, height.
        labels, scores (numpy.ndarray): (n,).
        true_boxes (numpy.ndarray): (m, 4).
        true_labels, crowds (numpy.ndarray): (m,), bool for ``crowds``.
        masks, true_masks (list[dict], optional): RLEs.

    Attributes:
        errors (list[dict]): ``error``, ``label``, ``bbox``, and where they apply ``true`` (label),
            ``score``, ``iou``; the costliest first.
        pairs (list[tuple[int, int]]): (true label, predicted label), -1 for background.
    """

    def __init__(self, boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray,
                 true_boxes: np.ndarray, true_labels: np.ndarray, crowds: np.ndarray,
                 masks: list[dict] | None = None, true_masks: list[dict] | None = None) -> None:
        order = np.argsort(-scores, kind='stable')
        boxes, labels, scores = boxes[order], labels[order], scores[order]
        masks = None if masks is None else [masks[row] for row in order]
        overlaps = _overlaps(boxes, true_boxes, crowds)
        self.errors: list[dict] = []
        self.pairs: list[tuple[int, int]] = []
        objects = ~crowds
        found = np.zeros(len(true_labels), bool)
        rest = []
        for row, label in enumerate(labels):
            same = true_labels == label
            best = _best(overlaps[row], objects & same & ~found, IOU)
            if best is not None:
                found[best] = True
                self.pairs.append((int(label), int(label)))
                if masks is not None and true_masks is not None:
                    iou = float(_overlaps([masks[row]], [true_masks[best]], [False])[0, 0])
                    if iou < IOU:
                        self._add('mask', label, boxes[row], scores[row], iou)
            elif _best(overlaps[row], crowds & same, IOU) is None:
                rest.append(row)
        confused = np.zeros(len(true_labels), bool)
        near = np.zeros(len(true_labels), bool)
        for row in rest:
            label, iou = labels[row], overlaps[row]
            same, free = true_labels == label, objects & ~found & ~confused
            other = _best(iou, free & ~same, IOU)
            close = _best(iou, free & same, BACKGROUND_IOU)
            if other is not None:
                confused[other] = True
                self.pairs.append((int(true_labels[other]), int(label)))
                self._add('class', label, boxes[row], scores[row], iou[other],
                          true=int(true_labels[other]))
                continue
            self.pairs.append((-1, int(label)))
            if close is not None:
                near[close] = True
                self._add('box', label, boxes[row], scores[row], iou[close])
            else:
                self._add('false', label, boxes[row], scores[row], iou.max(initial=0))
        for row in np.flatnonzero(objects & ~found & ~confused):
            self.pairs.append((int(true_labels[row]), -1))
            if not near[row]:
                self._add('missed', true_labels[row], true_boxes[row])
        self.errors.sort(key=lambda error: -error.get('score', 1.))

    @property
    def cost(self) -> float:
        """1 for a missed object, its score for a wrong detection: errors weigh as they show."""
        return sum(error.get('score', 1.) for error in self.errors)

    @property
    def counts(self) -> dict[str, int]:
        """dict[str, int]: number of errors of each name."""
        counts = Counter(error['error'] for error in self.errors)
        return {name: counts[name] for name in ERRORS if counts[name]}

    def _add(self, error, label, box, score=None, iou=None, true=None):
        entry = {'error': error, 'label': int(label), 'bbox': [float(side) for side in box]}
        if score is not None:
            entry.update(score=float(score), iou=float(iou))
        if true is not None:
            entry['true'] = true
        self.errors.append(entry)


def _overlaps(found, true, crowds):
    if not len(found) or not len(true):
        return np.zeros((len(found), len(true)))
    return hotcoco_mask.iou(found, true, [bool(crowd) for crowd in crowds])


def _best(iou, allowed, threshold):
    """Index of the largest overlap among the allowed, None below the threshold."""
    candidates = np.where(allowed, iou, -1.)
    if not len(candidates):
        return None
    best = int(np.argmax(candidates))
    return best if candidates[best] >= threshold else None


def image_errors(truth: GroundTruth, detections: Detections, categories: list[dict],
                 score: float = SCORE) -> dict[Any, ImageErrors]:
    """Errors of every image.

    Args:
        truth: ground truth with ``images`` and ``annotations()``.
        detections (Detections): with masks for mask errors.
        categories (list[dict]): by label.
        score (float): detections below are left out.

    Returns:
        dict[int, ImageErrors]: by image id, for the images of ``truth``.
    """
    labels = {category['id']: label for label, category in enumerate(categories)}
    objects: dict[Any, list[dict]] = {image_id: [] for image_id in truth.images}
    for ann in truth.annotations():
        if ann['category_id'] in labels:
            objects[ann['image_id']].append(ann)
    rows: dict[Any, list[int]] = {image_id: [] for image_id in objects}
    image_ids = detections.image_ids.tolist()
    for row in np.flatnonzero(detections.scores >= score):
        rows[image_ids[row]].append(row)
    label_of = np.array([labels[i] for i in detections.category_ids.tolist()], int)
    errors = {}
    for image_id, anns in objects.items():
        image, picked = truth.images[image_id], np.array(rows[image_id], int)
        masks = true_masks = None
        if detections.masks is not None:
            masks = [detections.masks[row] for row in picked]
            true_masks = [_rle(ann.get('segmentation'), image) for ann in anns] \
                if len(masks) else []
        errors[image_id] = ImageErrors(
            detections.boxes[picked], label_of[picked], detections.scores[picked],
            np.array([ann['bbox'] for ann in anns], float).reshape(-1, 4),
            np.array([labels[ann['category_id']] for ann in anns], int),
            np.array([bool(ann.get('iscrowd')) for ann in anns], bool), masks, true_masks)
    return errors


def confusion_matrix(errors: Iterable[ImageErrors], classes: int) -> np.ndarray:
    """Counts of (true, predicted) labels; the last row and column are background.

    Args:
        errors (Iterable[ImageErrors]): of the images.
        classes (int): number of classes.

    Returns:
        numpy.ndarray: (classes + 1, classes + 1) int64.
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    for image in errors:
        for pair in image.pairs:
            matrix[pair] += 1  # -1 is the last row or column
    return matrix


def _rle(segmentation, image):
    height, width = image['height'], image['width']
    if not segmentation:
        return hotcoco_mask.encode(np.zeros((height, width), np.uint8, order='F'))
    if isinstance(segmentation, list):
        return hotcoco_mask.merge(hotcoco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation['counts'], list):
        return hotcoco_mask.frPyObjects(segmentation, height, width)
    return segmentation
