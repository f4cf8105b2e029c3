"""What a work directory of train or test holds: config, learning curves, results. All is data.

Nothing in these files is run or trusted: a run that was killed leaves torn lines, and a work
directory may come from elsewhere.
"""
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from mmengine.config import Config

from convnext_dense.analysis.matches import DetectionMatches, SegmentationCounts
from convnext_dense.analysis.scalars import read_scalars
from convnext_dense.command_names import typed
from convnext_dense.errors import InputError, convert_errors
from convnext_dense.resolved_config import check_parts, parse_config

SUMMARIES = {'detection.json': 'convnext_dense.detection/1',
             'segmentation.json': 'convnext_dense.segmentation/1'}
#: keys of the log that are figures of validation, and what they are called in the report
CURVES = {'coco/bbox_mAP': 'bbox', 'coco/segm_mAP': 'segm', 'mIoU': 'mIoU'}
#: what to do where the config of a work directory is not one that the toolkit wrote there
WRITTEN = f'keep only what {typed("train")} or {typed("test")} wrote there'


def read_config(path: Path) -> Config:
    """The config that a training or test wrote, read as data: nothing in it runs."""
    name = f'config {path}'
    with convert_errors(name, WRITTEN):
        cfg = parse_config(path.read_text(encoding='utf-8'), name, WRITTEN)
        if not isinstance(cfg.get('model'), dict):
            raise InputError(f'{name} has no model=dict(type=...); {WRITTEN}')
        check_parts(cfg.model, cfg.get('default_scope', 'mmengine'), name, WRITTEN)
    return cfg


def read_curves(folder: str | Path) -> dict[str, tuple[list, list]]:
    """Learning curves from the scalars that mmengine wrote, resumed trainings joined.

    Returns:
        dict[str, tuple[list, list]]: for ``loss``, ``bbox``, ``segm`` and ``mIoU``, where known,
        steps (iterations, or epochs where training counts epochs) and values.
    """
    curves: dict[str, dict] = defaultdict(dict)
    for entry in _trained(folder):
        for key, value in entry.items():
            name = 'loss' if key == 'loss' else CURVES.get(key)
            if name:
                # mmseg logs mIoU in percent, mmdet AP in [0, 1]
                percent = 100 if key.startswith('coco/') else 1
                curves[name][entry['step']] = value * percent
    return {name: (sorted(points), [points[step] for step in sorted(points)])
            for name, points in curves.items()}


def read_seconds(folder: str | Path) -> tuple[list, list]:
    """Steps, and the seconds of training up to each, without validation, from mmengine's scalars.

    Returns:
        tuple[list, list]: steps and seconds; empty where no times were logged.
    """
    times = {}
    for entry in _trained(folder):
        if 'loss' in entry and 'time' in entry:
            times[entry['step']] = entry['time']  # mean of a step since the entry before
    steps = sorted(times)
    lengths = np.diff([0, *steps])
    return steps, np.cumsum(lengths * [times[step] for step in steps]).tolist()


def _trained(folder):
    """What was logged at each step from the first one on."""
    return (entry for run in read_scalars(folder) for entry in run if entry.get('step', 0) > 0)


def read_results(summary: Path) -> dict[str, DetectionMatches | SegmentationCounts]:
    """Results by kind from ``detection.json`` or ``segmentation.json``."""
    with convert_errors(str(summary), 'evaluate again'):
        return _read_results(summary)


def _read_results(summary):
    try:
        report = json.loads(summary.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f'{summary}: not JSON: {error}') from error
    expected = SUMMARIES[summary.name]
    if not isinstance(report, dict) or report.get('format') != expected:
        report = report if isinstance(report, dict) else {}
        raise InputError(f'{summary}: format {report.get("format")!r}, expected {expected!r}; '
                         'evaluate again with this version of the toolkit')
    read = _read_detection if summary.name == 'detection.json' else _read_segmentation
    return read(summary, report)


def _read_detection(summary, report):
    annotations = Path(report['annotations'])
    beside = summary.parent / annotations.name
    if not annotations.is_file() and beside.is_file():
        annotations = beside
    elif not annotations.is_file():
        raise InputError(f'{summary}: its annotations {annotations} are not there; run where the '
                         'evaluation ran, or copy the file beside it')
    return {kind: DetectionMatches(annotations, summary.parent / evaluation['detections'], kind,
                                   report['image_ids'], report['categories'])
            for kind, evaluation in report['evaluations'].items() if kind in ('bbox', 'segm')}


def _read_segmentation(summary, report):
    classes = report['classes']
    shape = len(report['images']), len(classes)
    intersection, union = np.zeros(shape), np.zeros(shape)
    for row, image in enumerate(report['images']):
        columns = image['classes']
        common = np.array(image['intersection'])
        intersection[row, columns] = common
        union[row, columns] = np.array(image['prediction']) + image['label'] - common
    names = [image['name'] for image in report['images']]
    return {'mIoU': SegmentationCounts(names, classes, intersection, union)}
