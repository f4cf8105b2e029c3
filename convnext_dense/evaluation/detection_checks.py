"""Checks of an image's detections, before hours of results are lost to a bad one."""
from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from convnext_dense.datasets.coco_json import Id, as_id
from convnext_dense.errors import InputError
from convnext_dense.evaluation.backends import GroundTruth

if TYPE_CHECKING:
    import torch


def image_id(sample: dict[str, Any]) -> Id:
    """The id of a data sample's image: a whole number or a text."""
    value = sample['img_id']
    found = as_id(value.item() if hasattr(value, 'item') else value)
    if found is None:
        raise InputError(f'image {value!r}: ids are whole numbers or texts; number the images of '
                         'the annotation file')
    return found


def check_detections(result: dict[str, Any], masks: torch.Tensor | np.ndarray | list[dict] | None,
                     classes: int, truth: GroundTruth | None = None,
                     ann_file: str | None = None) -> None:
    """Refuse detections that cocoapi would silently count wrongly.

    Args:
        result (dict): ``img_id``, ``img_path``, ``size`` (height, width), ``bboxes`` (n, 4)
            corners, ``scores``, ``labels``, perhaps ``mask_scores``.
        masks (torch.Tensor | numpy.ndarray | list[dict] | None): the masks.
        classes (int): number of classes.
        truth (GroundTruth, optional): the annotations.
        ann_file (str, optional): the annotation file's name.

    Raises:
        InputError: the image is not in the annotations or of another size, a score or coordinate
            is not finite, a box has negative width or height, a label is not below ``classes``,
            there are not as many boxes, scores, labels and masks, or a mask has not the
            image's size. Boxes of no width or height and boxes that leave the image stay:
            they simply match little.
    """
    if truth is not None:
        place = truth.place(result['img_id'])
        if place is None:
            raise _error(result, f'not one of the {len(truth.content.image_ids)} images of '
                                 f'{ann_file or "the annotations"}: the data set and the '
                                 'evaluator must name the same annotation file')
        width, height = truth.content.sizes[place].tolist()
        stated = (height, width)
        if 0 not in stated and stated != result['size']:
            raise _error(result, f'is {_size(result["size"])}, but {ann_file or "its annotation"} '
                                 f'says {_size(stated)}: replace the image or the annotation')
    boxes, scores, labels = result['bboxes'], result['scores'], result['labels']
    own_scores, count = result.get('mask_scores'), len(scores)
    if not len(boxes) == len(labels) == count == len(masks if masks is not None else scores) \
            == len(own_scores if own_scores is not None else scores):
        parts = {'boxes': boxes, 'scores': scores, 'labels': labels, 'masks': masks,
                 'mask scores': own_scores}
        raise _error(result, 'has ' + ', '.join(
            f'{len(part)} {what}' for what, part in parts.items() if part is not None)
            + ': each detection needs one of each')
    if not count:
        return
    if own_scores is not None or not _plain(boxes, scores, labels, classes):
        _refuse_values(result, boxes, scores, labels, classes)
    if masks is None:
        return
    sizes = {tuple(rle['size']) for rle in masks} if isinstance(masks, (list, tuple)) \
        else {tuple(masks.shape[1:])}
    for size in sizes - {result['size']}:
        raise _error(result, f'is {_size(result["size"])}, but a mask is {_size(size)}: masks '
                             'must be scaled to the original image')


def _plain(boxes, scores, labels, classes):
    """Whether all is as it should be, for most images; sums show what is not finite."""
    # the reductions themselves: the methods of small arrays take twice as long
    return (isfinite(np.add.reduce(boxes, None) + np.add.reduce(scores))
            and np.minimum.reduce(boxes[:, 2:] - boxes[:, :2], None) >= 0
            and np.minimum.reduce(labels) >= 0 and np.maximum.reduce(labels) < classes)


def _refuse_values(result, boxes, scores, labels, classes):
    for name, values in (('score', scores), ('mask score', result.get('mask_scores', scores)),
                         ('box', boxes)):
        _refuse(result, ~np.isfinite(values), name, values,
                'finite: the model has diverged, or its input is broken')
    _refuse(result, (boxes[:, 2:] < boxes[:, :2]), 'box', boxes,
            'left, top, right, bottom with right >= left and bottom >= top')
    _refuse(result, (labels < 0) | (labels >= classes), 'label', labels,
            f'in 0...{classes - 1}: the model has more classes than the data set')


def _refuse(result, bad, name, values, expected):
    rows = bad.reshape(len(values), -1).any(1)
    if rows.any():
        row = int(np.flatnonzero(rows)[0])
        raise _error(result, f'detection {row} has {name} {values[row].tolist()}; expected '
                             f'{expected}')


def _error(result, message):
    path = f' ({result["img_path"]})' if result.get('img_path') else ''
    return InputError(f'image {result["img_id"]}{path}: {message}')


def _size(size):
    height, width = size
    return f'{width}x{height}'
