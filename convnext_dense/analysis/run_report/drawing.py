"""Images of a validation with what the model found, and with the truth where it was loaded.

The pixels are those that the network got, so that any format that a loader reads can be drawn;
what was found in pixels of the file is drawn at that size.
"""
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from convnext_dense.analysis.evaluation_report.detection import draw_errors
from convnext_dense.prediction.colours import Colour
from convnext_dense.prediction.drawing import as_canvas, draw_instances, draw_label_map
from convnext_dense.prediction.results import crop_mask

#: longer side of a drawing in pixels: the least and the most
SIDES = (320, 640)
PANOPTIC_OFFSET = 1000  # of mmdet: a pixel is its label + 1000 times the number of its thing
GAP = 6  # pixels between two drawings


def network_image(pixels: Any, sample: Any) -> np.ndarray:
    """The image that the network got, without padding, in a size for drawings.

    Args:
        pixels (Tensor): (C, H, W), before the data preprocessor.
        sample: mmdet's or mmseg's data sample with ``ori_shape``.

    Returns:
        ndarray: uint8, (h, w, 3), BGR.
    """
    image = np.ascontiguousarray(pixels.detach().cpu().numpy().transpose(1, 2, 0))
    height, width = sample.ori_shape[:2]
    across, down = np.broadcast_to(np.asarray(getattr(sample, 'scale_factor', 1.), float), (2, ))
    rows = min(image.shape[0], max(1, round(height * down)))
    columns = min(image.shape[1], max(1, round(width * across)))
    canvas = as_canvas(image[:rows, :columns])
    scale = np.clip(max(height, width), *SIDES) / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(canvas, size, interpolation=cv2.INTER_AREA if size[0] < columns else
                      cv2.INTER_CUBIC)


def draw_prediction(image: np.ndarray, sample: Any, names: Sequence[str],
                    colours: Sequence[Colour], threshold: float) -> np.ndarray:
    """What was found, over the image of :func:`network_image`.

    Args:
        image (ndarray): uint8, (h, w, 3), BGR; it is not changed.
        sample: with ``pred_instances``, ``pred_sem_seg`` or ``pred_panoptic_seg``.
        names (Sequence[str]), colours (Sequence[tuple]): of the classes.
        threshold (float): least score of an object.
    """
    if 'pred_panoptic_seg' in sample or 'pred_sem_seg' in sample:
        return _draw_labels(image, label_map(sample), names, colours)
    found = sample.pred_instances
    return _draw_instances(image, sample, found[found.scores >= threshold], names, colours)


def draw_truth(image: np.ndarray, sample: Any, names: Sequence[str],
               colours: Sequence[Colour]) -> np.ndarray | None:
    """The annotations, as :func:`draw_prediction`; None where the sample has none."""
    if 'gt_sem_seg' in sample:
        return _draw_labels(image, true_label_map(sample), names, colours)
    if 'gt_instances' in sample and 'pred_instances' in sample:
        return _draw_instances(image, sample, sample.gt_instances, names, colours)
    return None


def draw_mistakes(image: np.ndarray, sample: Any, mistakes: Any, names: Sequence[str],
                  colours: Sequence[Colour]) -> np.ndarray:
    """An image with what is wrong: errors with their names, or the truth beside the label map.

    Args:
        image (ndarray): of :func:`network_image`.
        sample: as for :func:`draw_prediction`.
        mistakes (Mistakes): of :func:`convnext_dense.analysis.run_report.worst.judge`.
        names (Sequence[str]), colours (Sequence[tuple]): of the classes.
    """
    if mistakes.errors:
        scale = image.shape[1] / sample.ori_shape[1]
        errors = [dict(error, bbox=[scale * side for side in error['bbox']])
                  for error in mistakes.errors]
        return draw_errors(image, errors, mistakes.counts, side=max(image.shape[:2]))
    truth = draw_truth(image, sample, names, colours)
    found = draw_prediction(image, sample, names, colours, 0.)
    if truth is None:
        return found
    gap = np.full((len(image), GAP, 3), 255, np.uint8)
    return np.hstack([truth, gap, found])


def label_map(sample: Any) -> np.ndarray:
    """The predicted label of each pixel, (H, W); a panoptic result's without its things' numbers.
    """
    if 'pred_panoptic_seg' in sample:
        return sample.pred_panoptic_seg.sem_seg[0].cpu().numpy() % PANOPTIC_OFFSET
    return sample.pred_sem_seg.data[0].cpu().numpy()


def true_label_map(sample: Any) -> np.ndarray:
    """The annotated label of each pixel, (H, W)."""
    truth = sample.gt_sem_seg
    labels = truth.data if 'data' in truth else truth.sem_seg  # of mmseg, of mmdet
    return labels.reshape(labels.shape[-2:]).cpu().numpy()


def _draw_labels(image, labels, names, colours):
    known = (labels >= 0) & (labels < len(names))
    labels = np.where(known, labels, len(names)).astype(np.uint16)
    return draw_label_map(image, _fit(labels, image), names, colours)


def _draw_instances(image, sample, found, names, colours):
    scale = image.shape[1] / sample.ori_shape[1]
    masks = found.get('masks')
    crops = None
    if masks is not None:
        masks = masks.to_ndarray() if hasattr(masks, 'to_ndarray') else np.asarray(
            masks.cpu() if hasattr(masks, 'cpu') else masks)
        crops = [crop_mask(_fit(mask.astype(np.uint8), image) > 0) for mask in masks]
    scores = found.get('scores')
    return draw_instances(image, boxes_of(found) * scale, found.labels.cpu().numpy(), names,
                          colours, None if scores is None else scores.float().cpu().numpy(), crops)


def boxes_of(instances: Any) -> np.ndarray:
    """Corners of the boxes of mmdet's InstanceData: float32, (N, 4)."""
    boxes = instances.bboxes
    boxes = getattr(boxes, 'tensor', boxes)  # annotations may be in a class of their own
    return boxes.float().cpu().numpy().reshape(-1, 4)


def _fit(labels, image):
    """A label map or mask in the size of a drawing."""
    height, width = image.shape[:2]
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
