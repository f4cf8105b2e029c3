"""The models of a comparison, read from configs, work directories and benchmark files.

A model is known by the stem of its config's name, or by the name that it is given. Work
directories of one model are its training seeds.
"""
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convnext_dense.analysis.matches import DetectionMatches, SegmentationCounts
from convnext_dense.analysis.run_files import (
    SUMMARIES,
    read_config,
    read_curves,
    read_results,
    read_seconds,
)
from convnext_dense.command_names import typed
from convnext_dense.config_files import find_config
from convnext_dense.errors import InputError, convert_errors

#: metric of the report: its title, key of the published figure
KINDS = {'bbox': ('box AP', 'box_ap'), 'segm': ('mask AP', 'mask_ap'), 'mIoU': ('mIoU', 'miou')}
#: what the report reads of each model in a benchmark file
MEASURED = ('name', 'mode', 'batch', 'rounds', 'images_per_s', 'latency_ms', 'stages_ms',
            'peak_memory_MiB')
#: settings that the seeds of one model share
RECIPE = ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg')


@dataclass
class Run:
    """One training: its folder, config, learning curves and results."""
    folder: str
    cfg: object
    curves: dict = field(default_factory=dict)  # name -> (steps, values); AP and mIoU in percent
    results: dict = field(default_factory=dict)  # kind -> DetectionMatches or SegmentationCounts
    seconds: tuple = ((), ())  # steps, and seconds of training up to each


@dataclass
class Model:
    """One model of the comparison; what is not known is None or empty."""
    name: str
    config: str  # stem of the config file
    cfg: object = None
    named: bool = False  # by the user, who wants to read this name and no other
    runs: list = field(default_factory=list)
    complexity: Any = None  # Complexity, whose module takes seconds to import
    published: dict | None = None
    speed: dict = field(default_factory=dict)  # mode -> results of the benchmark
    machine: dict | None = None

    def results(self, kind: str) -> list[DetectionMatches | SegmentationCounts]:
        """The results of all runs that have this kind."""
        return [run.results[kind] for run in self.runs if kind in run.results]


def gather(paths: Sequence[str], size: tuple[int, int] | None = None) -> list[Model]:
    """Models from any mix of configs (.py), work directories and benchmark files (.json).

    Args:
        paths (Sequence[str]): in the order of the report; ``NAME=PATH`` names a config or a work
            directory. Where all are work directories of one model, each is a model of its own.
        size (tuple[int, int], optional): height and width in pixels at which multiply-adds are
            counted; by default the papers', or for trainings on smaller images the benchmark's.

    Returns:
        list[Model]: in the order in which they were first named.

    Raises:
        InputError: a path of another kind, a work directory without config or results, a
            benchmark of a model that no config or work directory describes, seeds of one model
            with different recipes.
    """
    by_name: dict[str, Model] = {}
    benchmarks = []
    for text in map(str, paths):
        name, path = split_name(text)
        if path.suffix == '.json' and not path.is_dir():
            if name:
                raise InputError(f'{text}: a benchmark file names its models itself; leave '
                                 f'{name}= out')
            benchmarks.append((path, read_benchmark(path)))
        elif path.is_dir():
            with convert_errors(str(path), 'look at the files in it'):
                _add_work_dir(by_name, path, name)
        elif path.suffix == '.py' or not path.exists():
            _add_config(by_name, find_config(path), name)
        else:
            raise InputError(f'{path}: neither a config (.py), a work directory nor a benchmark '
                             '(.json)')
    models = list(by_name.values())
    if not models:
        raise InputError('compare: no model; name configs or work directories')
    if len(models) == 1 and len(models[0].runs) == len(paths) - len(benchmarks) > 1:
        models = _split_runs(models[0])
    for model in models:
        _check_recipes(model)
    for path, report in benchmarks:
        with convert_errors(str(path), f'measure again with {typed("benchmark")}'):
            _add_benchmark(models, path, report)
    for model in models:
        with convert_errors(f'{model.name}: its multiply-adds cannot be counted',
                            'look at model and data_preprocessor of its config, and at the '
                            'benchmark file'):
            _count(model, size)
    return models


def split_name(text: str) -> tuple[str | None, Path]:
    """``NAME=PATH`` as (name, path); the name is None where there is none."""
    name, equals, path = text.partition('=')
    if not equals or '/' in name or Path(text).exists():
        return None, Path(text)
    if not name or not path:
        raise InputError(f'{text}: write NAME=PATH')
    return name, Path(path)


def _add_config(models, path, name=None):
    from convnext_dense.config import load_config
    _add(models, path, load_config(path), name)


def _add(models, path, cfg, name):
    """The model of a config, which may be there already."""
    model = models.setdefault(name or path.stem, Model(name or path.stem, path.stem,
                                                       named=bool(name)))
    model.cfg = model.cfg or cfg
    return model


def _add_work_dir(models, folder, name=None):
    """Read a work directory of train or test: its config, learning curves and newest results."""
    configs = sorted(folder.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if not configs:
        raise InputError(f'{folder}: no config (.py) in it; expected a work directory of '
                         f'{typed("train")} or {typed("test")}')
    summaries = sorted((path for file in SUMMARIES for path in folder.rglob(file)),
                       key=lambda path: path.stat().st_mtime)
    if not summaries:
        raise InputError(f'{folder}: no results (detection.json or segmentation.json) in it; '
                         'evaluate with report=True in the config\'s test_evaluator, e.g. '
                         f'{typed("test")} CONFIG CHECKPOINT --cfg-options '
                         'test_evaluator.report=True')
    cfg = read_config(configs[-1])
    run = Run(str(folder), cfg, read_curves(folder), read_results(summaries[-1]),
              read_seconds(folder))
    _add(models, configs[-1], cfg, name).runs.append(run)


def _split_runs(model):
    """Each run as a model, named by its folder's name, or by its path where names repeat."""
    names = [Path(run.folder).name for run in model.runs]
    if len(set(names)) < len(names):
        names = [run.folder for run in model.runs]
    if len(set(names)) < len(names):
        raise InputError(f'compare: {names[0]} is named twice; give different work directories')
    return [Model(name, model.config, run.cfg, named=True, runs=[run])
            for name, run in zip(names, model.runs)]


def _check_recipes(model):
    """Refuse runs that are no seeds of one model."""
    for run in model.runs[1:]:
        first = model.runs[0]
        for key in RECIPE:
            if run.cfg.get(key) != first.cfg.get(key):
                raise InputError(f'{first.folder} and {run.folder} are seeds of {model.name}, but '
                                 f'differ in {key}; name them apart: NAME={run.folder}')


def read_benchmark(path: Path) -> dict[str, Any]:
    """A file that the command `benchmark` wrote."""
    if not path.is_file():
        raise InputError(f'{path}: no such file')
    try:
        report = json.loads(path.read_text())
        measured = [{key: result[key] for key in MEASURED} for result in report['models']]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f'{path}: not a file of {typed("benchmark")} '
                         f'({type(error).__name__}: {error})') from error
    if not measured:
        raise InputError(f'{path}: no models in it')
    return report


def _add_benchmark(models, path, report):
    for result in report['models']:
        measured = [model for model in models if model.config == result['name']]
        if not measured:
            known = ', '.join(dict.fromkeys(model.config for model in models))
            raise InputError(f'{path}: unknown model {result["name"]!r}; the configs and work '
                             f'directories here describe {known}; add its config')
        for model in measured:
            model.speed[result['mode']] = dict(result, size=report.get('options', {}).get('size'))
            model.machine = report.get('machine')


def _count(model, size):
    from convnext_dense.analysis.complexity import (
        build_on_meta,
        measure_complexity,
        published_size,
    )
    from convnext_dense.analysis.sizes import parse_size, published_figures
    model.published = published_figures(model.cfg)
    timed = next((speed['size'] for speed in model.speed.values() if speed.get('size')), None)
    if size is None and timed and not model.published:
        size = parse_size(timed)
    model.complexity = measure_complexity(build_on_meta(model.cfg),
                                          size or published_size(model.cfg))


def kinds_of(models: list[Model]) -> list[str]:
    """Kinds of result (keys of ``KINDS``) that any model has, measured or published."""
    return [kind for kind, (_, key) in KINDS.items() if any(
        model.results(kind) or (model.published or {}).get(key) for model in models)]
