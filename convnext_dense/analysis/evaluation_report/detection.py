"""A detector's evaluation as files: figures, detections, curves, confusions, worst images.

The layout is described in docs/evaluation.md.
"""
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log

from convnext_dense.analysis.evaluation_report import detection_errors, plots
from convnext_dense.analysis.evaluation_report.detection_errors import (
    ImageErrors,
    confusion_matrix,
    image_errors,
)
from convnext_dense.analysis.evaluation_report.json_files import dump_json
from convnext_dense.evaluation.backends import GroundTruth
from convnext_dense.evaluation.detections import Detections
from convnext_dense.files import write_image
from convnext_dense.registry import FUNCTIONS

FORMAT = 'convnext_dense.detection/1'
WORST = 20
# errors drawn and listed an image
SHOWN = 50
# BGR, dark enough for white letters
COLORS = {'missed': (200, 90, 20), 'false': (40, 30, 210), 'box': (0, 120, 200),
          'class': (160, 30, 150), 'mask': (60, 130, 20)}
# pixels: the longer side of a drawn image at least, and the strip above it
SIDE, HEADER = 960, 28
FONT = cv2.FONT_HERSHEY_SIMPLEX, 0.5


@FUNCTIONS.register_module()
def write_detection_report(folder: Path, truth: GroundTruth, categories: list[dict],
                           results: list[dict], detections: dict[str, Detections],
                           evaluations: dict[str, tuple], iou_thresholds: np.ndarray,
                           max_dets: Sequence[int], ann_file: str | None = None) -> None:
    """Write the report of one evaluation into ``folder``.

    Args:
        folder (Path): exists.
        truth (GroundTruth): the annotations.
        categories (list[dict]): by label.
        results (list[dict]): per-image results, for the images' paths.
        detections (dict[str, Detections]): by kind, ``bbox`` and ``segm``.
        evaluations (dict[str, tuple]): by kind: figures, figures of classes, curves.
        iou_thresholds, max_dets: of the evaluation.
        ann_file (str, optional): the annotations; without it they are written too.
    """
    names = [category['name'] for category in categories]
    annotations = truth.annotations()
    if ann_file is None:
        dump_json(folder / 'annotations.json', {
            'images': list(truth.images.values()), 'annotations': annotations,
            'categories': truth.categories})
    objects = Counter(ann['category_id'] for ann in annotations if not ann.get('iscrowd'))
    summary: dict[str, Any] = {
        'format': FORMAT,
        'annotations': str(ann_file or 'annotations.json'),
        'image_ids': [result['img_id'] for result in results],
        'categories': [{'id': c['id'], 'name': c['name']} for c in categories],
        'iou_thresholds': [float(threshold) for threshold in iou_thresholds],
        'max_detections': sorted(max_dets),
        'evaluations': {}}
    for kind, (figures, rows, curves) in evaluations.items():
        detections[kind].write(folder / f'detections.{kind}.json')
        errors = image_errors(truth, detections[kind], categories)
        matrix = confusion_matrix(errors.values(), len(categories))
        plots.precision_recall(curves, categories, iou_thresholds,
                               folder / f'pr_curves.{kind}.png')
        plots.confusion(matrix, [*names, 'nothing (false)'], [*names, 'nothing (missed)'],
                        folder / f'confusion_matrix.{kind}.png')
        summary['evaluations'][kind] = {
            'detections': f'detections.{kind}.json',
            'figures': figures,
            'classes': [{'id': c['id'], 'name': c['name'], 'annotations': objects[c['id']],
                         **rows[c['id']]} for c in categories],
            'confusion': {'score': detection_errors.SCORE, 'iou': detection_errors.IOU,
                          'matrix': matrix.tolist()}}
    # of the last kind: the masks where they were evaluated
    paths = {result['img_id']: result['img_path'] for result in results
             if result.get('img_path')}
    summary['worst'] = worst_images(errors, names, paths)
    _draw_worst(summary['worst'], folder / 'worst')
    dump_json(folder / 'detection.json', summary)
    print_log(f'report: {folder / "detection.json"}', 'current')


def worst_images(errors: dict[int, ImageErrors], names: list[str],
                 paths: dict[int, str]) -> list[dict]:
    """The images with the costliest errors, each error named.

    Args:
        errors (dict[int, ImageErrors]): by image id.
        names (list[str]): of the classes, by label.
        paths (dict[int, str]): of the images, by image id; only images in it are taken.

    Returns:
        list[dict]: ``image_id``, ``path``, ``cost``, ``counts``, ``errors``; the worst first.
    """
    order = sorted((image_id for image_id in errors if image_id in paths),
                   key=lambda image_id: (-errors[image_id].cost, image_id))
    worst = []
    for image_id in order[:WORST]:
        image = errors[image_id]
        if not image.errors:
            break
        worst.append({'image_id': image_id, 'path': paths[image_id], 'cost': image.cost,
                      'counts': image.counts, 'errors': named_errors(image, names)})
    return worst


def named_errors(image: ImageErrors, names: Sequence[str]) -> list[dict]:
    """The costliest errors of an image, with the names of the classes.

    Args:
        image (ImageErrors): of the image.
        names (Sequence[str]): of the classes, by label.
    """
    entries = []
    for error in image.errors[:SHOWN]:
        entry = dict(error, category=names[error['label']])
        del entry['label']
        if 'true' in entry:
            entry['true'] = names[entry['true']]
        entries.append(entry)
    return entries


def _draw_worst(worst, folder):
    for rank, image in enumerate(worst, 1):
        if not image['path'] or not Path(image['path']).is_file():
            continue
        canvas = cv2.imread(str(image['path']))
        if canvas is None:
            continue
        folder.mkdir(exist_ok=True)
        name = re.sub(r'[^\w.-]', '_', str(image['image_id']))[:80]  # ids may be texts
        write_image(folder / f'{rank:02}_{name}.jpg', draw_errors(
            canvas, image['errors'], image['counts']))


def draw_errors(canvas: np.ndarray, errors: list[dict], counts: dict[str, int],
                side: int = SIDE) -> np.ndarray:
    """An image with its errors, enlarged where it is small, their numbers above it.

    Args:
        canvas (numpy.ndarray): (height, width, 3) uint8 BGR.
        errors (list[dict]): ``errors`` of :func:`worst_images`.
        counts (dict[str, int]): number of errors of each name.
        side (int): the longer side of the drawing in pixels, at least.

    Returns:
        numpy.ndarray: the drawing, (height, width, 3) uint8 BGR.
    """
    scale = max(1, side / max(canvas.shape[:2]))
    canvas = cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    for error in reversed(errors):
        x, y, w, h = (round(scale * side) for side in error['bbox'])
        cv2.rectangle(canvas, (x, y), (x + w, y + h), COLORS[error['error']], 2)
    placed: list[tuple] = []
    for error in errors:
        _label(canvas, error, scale, placed)
    header = np.full((HEADER, canvas.shape[1], 3), 255, np.uint8)
    left = 6
    for name, count in counts.items():
        text = f'{count} {name}'
        cv2.putText(header, text, (left, HEADER - 8), *FONT, COLORS[name], 1, cv2.LINE_AA)
        left += cv2.getTextSize(text, *FONT, 1)[0][0] + 24
    return np.concatenate([header, canvas])


def _label(canvas, error, scale, placed):
    """Write what is wrong above the box, or below the labels that are ``placed`` there."""
    text = f'{error["error"]}: {error["category"]}'
    if 'true' in error:
        text += f' is {error["true"]}'
    if 'score' in error:
        text += f' {error["score"]:.2f}'
    (width, height), base = cv2.getTextSize(text, *FONT, 1)
    width, height = width + 4, height + base + 2
    x = int(np.clip(scale * error['bbox'][0], 0, max(0, canvas.shape[1] - width)))
    y = max(0, int(scale * error['bbox'][1]) - height)
    while any(x < right and left < x + width and y < bottom and top < y + height
              for left, top, right, bottom in placed):
        y += height
    placed.append((x, y, x + width, y + height))
    cv2.rectangle(canvas, (x, y), (x + width, y + height), COLORS[error['error']], -1)
    cv2.putText(canvas, text, (x + 2, y + height - base), *FONT, (255, 255, 255), 1, cv2.LINE_AA)
