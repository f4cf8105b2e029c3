"""The models of a comparison, read from configs, work directories and benchmark files.

A model is known by the name of its config file. Work directories of one config are that model's
training seeds.
"""
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from convnext_dense.analysis.matches import DetectionMatches, SegmentationCounts
from convnext_dense.errors import InputError

SUMMARIES = {'detection.json': 'convnext_dense.detection/1',
             'segmentation.json': 'convnext_dense.segmentation/1'}
#: metric of the report: its title, key of the published figure
KINDS = {'bbox': ('box AP', 'box_ap'), 'segm': ('mask AP', 'mask_ap'), 'mIoU': ('mIoU', 'miou')}
#: keys of the log that are figures of validation, and what they are called in the report
CURVES = {'coco/bbox_mAP': 'bbox', 'coco/segm_mAP': 'segm', 'mIoU': 'mIoU'}


@dataclass
class Run:
    """One training: its folder, learning curves and results."""
    folder: str
    curves: dict = field(default_factory=dict)  # name -> (steps, values); AP and mIoU in percent
    results: dict = field(default_factory=dict)  # kind -> DetectionMatches or SegmentationCounts


@dataclass
class Model:
    """One model of the comparison; what is not known is None or empty."""
    name: str
    cfg: object = None
    runs: list = field(default_factory=list)
    complexity: object = None
    published: dict = None
    speed: dict = field(default_factory=dict)  # mode -> results of the benchmark
    machine: dict = None

    def results(self, kind):
        """The results of all runs that have this kind."""
        return [run.results[kind] for run in self.runs if kind in run.results]


def gather(paths, size=None):
    """Models from any mix of configs (.py), work directories and benchmark files (.json).

    Args:
        paths (Sequence[str]): in the order of the report.
        size (tuple[int, int], optional): height and width in pixels at which multiply-adds are
            counted; by default the papers', or for trainings on smaller pictures the benchmark's.

    Returns:
        list[Model]: in the order in which they were first named.

    Raises:
        InputError: a path of another kind, a work directory without config or results, a
            benchmark of a model that no config or work directory describes.
    """
    models, benchmarks = {}, []
    for path in map(Path, paths):
        if path.is_dir():
            add_work_dir(models, path)
        elif path.suffix == '.py':
            _add_config(models, path)
        elif path.suffix == '.json':
            benchmarks.append((path, read_benchmark(path)))
        else:
            raise InputError(f'{path}: ' + (
                'neither a config (.py), a work directory nor a benchmark (.json)'
                if path.exists() else 'no such file or folder'))
    for path, report in benchmarks:
        _add_benchmark(models, path, report)
    if not models:
        raise InputError('compare: no model; name configs or work directories')
    for model in models.values():
        _count(model, size)
    return list(models.values())


def _add_config(models, path):
    from convnext_dense.config import load_config
    model = models.setdefault(path.stem, Model(path.stem))
    model.cfg = load_config(path)


def add_work_dir(models, folder):
    """Read a work directory of train or test: its config, learning curves and newest results."""
    configs = sorted(folder.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if not configs:
        raise InputError(f'{folder}: no config (.py) in it; expected a work directory of '
                         'tools/train.py or tools/test.py')
    name = configs[-1].stem
    if name not in models or models[name].cfg is None:
        _add_config(models, configs[-1])
    summaries = sorted((path for file in SUMMARIES for path in folder.rglob(file)),
                       key=lambda path: path.stat().st_mtime)
    if not summaries:
        raise InputError(f'{folder}: no results (detection.json or segmentation.json) in it; '
                         'evaluate with report=True in the config\'s test_evaluator, e.g. '
                         'tools/test.py CONFIG CHECKPOINT --cfg-options '
                         'test_evaluator.report=True')
    models[name].runs.append(Run(str(folder), read_curves(folder), read_results(summaries[-1])))


def read_curves(folder):
    """Learning curves from the scalars that mmengine wrote, resumed trainings joined.

    Returns:
        dict[str, tuple[list, list]]: for ``loss``, ``bbox``, ``segm`` and ``mIoU``, where known,
        steps (iterations, or epochs where training counts epochs) and values.
    """
    curves = defaultdict(dict)
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            for key, value in entry.items():
                name = 'loss' if key == 'loss' else CURVES.get(key)
                if name and entry.get('step'):
                    # mmseg logs mIoU in percent, mmdet AP in [0, 1]
                    percent = 100 if key.startswith('coco/') else 1
                    curves[name][entry['step']] = value * percent
    return {name: tuple(map(list, zip(*sorted(points.items()))))
            for name, points in curves.items()}


def read_results(summary):
    """Results by kind from ``detection.json`` or ``segmentation.json``."""
    try:
        report = json.loads(summary.read_text())
    except ValueError as error:
        raise InputError(f'{summary}: not JSON: {error}') from error
    expected = SUMMARIES[summary.name]
    if report.get('format') != expected:
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
            for kind, evaluation in report['evaluations'].items() if kind in KINDS}


def _read_segmentation(summary, report):
    import numpy as np
    classes = report['classes']
    shape = len(report['pictures']), len(classes)
    intersection, union = np.zeros(shape), np.zeros(shape)
    for row, picture in enumerate(report['pictures']):
        columns = picture['classes']
        common = np.array(picture['intersection'])
        intersection[row, columns] = common
        union[row, columns] = np.array(picture['prediction']) + picture['label'] - common
    names = [picture['name'] for picture in report['pictures']]
    return {'mIoU': SegmentationCounts(names, classes, intersection, union)}


def read_benchmark(path):
    """A file of tools/analysis/benchmark.py."""
    if not path.is_file():
        raise InputError(f'{path}: no such file')
    try:
        report = json.loads(path.read_text())
        names = [result['name'] for result in report['models']]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path}: not a file of tools/analysis/benchmark.py '
                         f'({type(error).__name__}: {error})') from error
    if not names:
        raise InputError(f'{path}: no models in it')
    return report


def _add_benchmark(models, path, report):
    for result in report['models']:
        if result['name'] not in models:
            raise InputError(f'{path}: unknown model {result["name"]!r}; the configs and work '
                             f'directories here describe {", ".join(models) or "none"}; add its '
                             'config')
        model = models[result['name']]
        model.speed[result['mode']] = dict(result, size=report.get('options', {}).get('size'))
        model.machine = report.get('machine')


def _count(model, size):
    from convnext_dense.analysis.complexity import (
        build_on_meta,
        measure_complexity,
        published_size,
    )
    from convnext_dense.commands.complexity import parse_size, published_figures
    model.published = published_figures(model.cfg)
    timed = next((speed['size'] for speed in model.speed.values() if speed.get('size')), None)
    if size is None and timed and not model.published:
        size = parse_size(timed)
    model.complexity = measure_complexity(build_on_meta(model.cfg),
                                          size or published_size(model.cfg))


def kinds_of(models):
    """Kinds of result (keys of ``KINDS``) that any model has, measured or published."""
    return [kind for kind, (_, key) in KINDS.items() if any(
        model.results(kind) or (model.published or {}).get(key) for model in models)]


def short_names(models):
    """Labels by model name: the part of the config's name that tells the models apart.

    Config names are ``<method>_<backbone>_<recipe>_<data>``: the first of these that differs from
    model to model will do, else the whole name.
    """
    names = [model.name for model in models]
    for words in zip(*(name.split('_') for name in names)):
        if len(set(words)) == len(names) > 1:
            return dict(zip(names, words))
    return dict(zip(names, names))


def families(labels):
    """Index of each model's family by name, and the families: labels that begin alike.

    A family is the letters before the size, with a ``v2``: ``convnextv2`` of ``convnextv2-b``.
    """
    keys = {name: re.match(r'[A-Za-z]*(v2|\d+)?', label).group()
            for name, label in labels.items()}
    order = list(dict.fromkeys(keys.values()))
    return {name: order.index(key) for name, key in keys.items()}, order
