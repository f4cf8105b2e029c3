"""One batch of each loader through the model: what no table of rules can foresee.

The full check of a config ends with it. Nothing is learned, fetched or kept: the model starts
from nothing, the work directory is a temporary one, gradients are not computed, and hooks of a
user's own are built but not called.
"""
import copy
import os
import tempfile
import uuid
from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from convnext_dense.config import PRETRAINED
from convnext_dense.config_nodes import nested, type_name
from convnext_dense.errors import InputError, convert_errors, is_out_of_memory
from convnext_dense.runtime.hook_errors import call_named

IMAGES = 2  # of a batch, as batch norm needs
#: where metrics write
WRITTEN = ('output_dir', 'outfile_prefix', 'report_dir', 'out_file_path')
ADVICE = 'look at the settings of the model, its losses and the pipeline'


def try_batches(cfg: Config, build_runner: Callable[[Config], Runner]) -> None:
    """Raise InputError for what stops training, validation or a test at the first batch.

    Args:
        cfg: the config, fitted to the device.
        build_runner: makes the runner of a config.

    Raises:
        InputError: one line.
    """
    for loaders in _runs(cfg):
        with tempfile.TemporaryDirectory() as folder:
            try:
                _try(_alone(cfg, folder, loaders), build_runner, loaders)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise InputError(
                    f'the memory of this machine does not hold the model and {IMAGES} images of '
                    f'{loaders[0]}_dataloader; lower the size of either, or leave the trial out '
                    'with --no-trial') from error


def _runs(cfg: Config) -> list[list[str]]:
    """The loaders that run together; testing only where it differs from validation."""
    def of(name):
        return [cfg.get(f'{name}_{part}') for part in ('dataloader', 'evaluator', 'cfg')]

    there = [name for name in ('train', 'val', 'test')
             if cfg.get(f'{name}_dataloader') and cfg.get(f'{name}_cfg') is not None]
    runs = [[name for name in there if name != 'test']] if 'train' in there else []
    if 'test' in there and (not runs or 'val' not in there or of('val') != of('test')):
        runs.append(['test'])
    return runs


def _alone(cfg: Config, folder: str, loaders: list[str]) -> Config:
    """The config of a run that leaves no trace."""
    cfg = copy.deepcopy(cfg)
    for name in {'train', 'val', 'test'}.difference(loaders):
        for part in ('dataloader', 'evaluator', 'cfg'):
            cfg[f'{name}_{part}'] = None
    if 'train' not in loaders:
        cfg.optim_wrapper = cfg.param_scheduler = None
    cfg.update(work_dir=folder, experiment_name=uuid.uuid4().hex, log_level='ERROR', compile=None,
               load_from=None, resume=False, init_from=None, launcher='none')
    for node in nested(cfg.get('model')):
        if type_name(node.get('init_cfg')) in PRETRAINED:
            node['init_cfg'] = None
    for node in nested([cfg.get('val_evaluator'), cfg.get('test_evaluator')]):
        if node.get('report') is True:
            node['report'] = False
        for key in WRITTEN:
            if node.get(key):
                node[key] = os.path.join(folder, os.path.basename(str(node[key])) or key)
    if isinstance(cfg.get('visualizer'), dict):
        cfg.visualizer.vis_backends = None
    return cfg


def _try(cfg: Config, build_runner: Callable[[Config], Runner], loaders: list[str]) -> None:
    runner = build_runner(cfg)
    if 'train' in loaders:
        assert runner.train_loop is not None  # it is built where it is asked for
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        if runner.param_schedulers is not None:
            runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    for hook in runner.hooks:
        if type(hook).__module__.split('.')[0] in ('mmengine', 'mmdet', 'mmseg'):
            call_named(hook, 'before_run', runner)
    for name in loaders:
        loop = getattr(runner, f'{name}_loop')
        with convert_errors(f'{name}_dataloader: its first {IMAGES} images', ADVICE):
            batch = _first_batch(loop.dataloader)
            if batch is not None and name == 'train':
                _train(runner, batch)
            elif batch is not None:
                figures = _evaluate(runner, loop.evaluator, batch)
                if name == 'val':
                    _check_awaited(runner, figures)


def _train(runner: Runner, batch: Any) -> None:
    """The loss of a batch, a step of the optimizer without gradients, and one of the schedules."""
    model = runner.model.train()
    with torch.no_grad():
        model(**model.data_preprocessor(batch, True), mode='loss')
    zero = sum(parameter.sum() for parameter in model.parameters() if parameter.requires_grad)
    runner.optim_wrapper.update_params(0. * zero)
    with convert_errors('param_scheduler', 'look at its settings'):
        for schedule in _schedules(runner):
            schedule.step()


def _evaluate(runner: Runner, evaluator: Any, batch: Any) -> dict[str, float]:
    """A step of evaluation, and its figures."""
    runner.model.eval()
    with torch.no_grad():
        outputs = runner.model.test_step(batch)
    evaluator.process(data_samples=outputs, data_batch=batch)
    return evaluator.evaluate(len(outputs))


def _check_awaited(runner, figures):
    """Raise InputError for a figure that a hook or schedule waits for and validation lacks."""
    for part, key in _awaited(runner):
        if key not in figures:
            raise InputError(f'{type(part).__name__} waits for the figure {key!r}, but '
                             f'val_evaluator gives {", ".join(map(repr, figures)) or "none"}')


def _awaited(runner):
    """(part, figure) of the hooks and schedules that look for a figure of the validation."""
    for part in (*runner.hooks, *_schedules(runner)):
        wanted: Any = None
        if isinstance(part, CheckpointHook):
            wanted = part.save_best
        elif isinstance(part, EarlyStoppingHook) or getattr(part, 'need_val_args', False):
            wanted = part.monitor
        for key in wanted if isinstance(wanted, list) else [wanted]:
            if isinstance(key, str) and key != 'auto':
                yield part, key


def _schedules(runner):
    found: Any = runner.param_schedulers or []
    return [one for several in found.values() for one in several] if isinstance(
        found, dict) else found


def _first_batch(loader: DataLoader) -> Any:
    """The first images of the first batch, read in this process; None where none can be."""
    dataset, batches = loader.dataset, loader.batch_sampler
    if batches is None or not hasattr(dataset, '__getitems__'):
        return next(iter(loader), None)
    return loader.collate_fn(dataset.__getitems__(list(next(iter(batches)))[:IMAGES]))
