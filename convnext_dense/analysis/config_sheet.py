"""A resolved config as a short sheet: what is trained on what, and how."""
from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from convnext_dense.analysis.complexity import MASKS, PROPOSALS, build_on_meta, measure_complexity
from convnext_dense.analysis.learning_rates import rate_groups
from convnext_dense.analysis.training_memory import estimate_training_memory, training_size
from convnext_dense.classes import LOADERS, data_sets, names_of
from convnext_dense.config_device import is_mixed_precision
from convnext_dense.config_nodes import nested, type_name
from convnext_dense.errors import InputError
from convnext_dense.runtime.trainable_hook import TrainableHook
from convnext_dense.wording import counted

MOST_PARTS, MOST_NAMES = 4, 12
LONGEST = 180  # characters of a line of text
LARGEST_FILE = 100 * 2**20  # of annotations that are read to count images
#: steps of a pipeline that say nothing about augmentation
PLAIN_STEPS = ('LoadImageFromFile', 'LoadAnnotations', 'PackDetInputs', 'PackSegInputs')

Sheet = dict[str, list[str]]


def config_sheet(cfg: Config) -> Sheet:
    """Describe a training.

    Args:
        cfg: resolved, fitted to the device.

    Returns:
        Lines by topic: model, data, augmentation, schedule, learning rates, batch, memory.

    Raises:
        InputError: the model cannot be built.
    """
    model = build_on_meta(cfg).train()  # which freezes what a backbone's own settings freeze
    TrainableHook(cfg.get('freeze'), cfg.get('lora')).apply(model)
    size = training_size(training_pipeline(cfg))
    batch = (cfg.get('train_dataloader') or {}).get('batch_size') or 1
    sheet = dict(model=list(_model(cfg, model, size)), data=list(_data(cfg)),
                 augmentation=list(_augmentation(cfg)), schedule=list(_schedule(cfg, batch)))
    if cfg.get('optim_wrapper'):
        sheet['learning rates'] = list(_rates(cfg, model))
    return dict(sheet, batch=[_batch(cfg, batch)], memory=[_memory(cfg, size, batch)])


def render(sheet: Sheet) -> str:
    """The sheet as aligned text, long lines cut."""
    width = max(map(len, sheet)) + 2
    return '\n'.join(f'{topic if number == 0 else "":<{width}}{line[:LONGEST]}'
                     f'{" ..." if len(line) > LONGEST else ""}'
                     for topic, lines in sheet.items() for number, line in enumerate(lines))


def training_pipeline(cfg: Config) -> list[Any]:
    """The steps of the training data's pipeline, a wrapper's behind its data set's."""
    dataset = next(iter(data_sets((cfg.get('train_dataloader') or {}).get('dataset'))), {})
    wrapper = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    return [*(dataset.get('pipeline') or ()),
            *(wrapper.get('pipeline') or () if wrapper is not dataset else ())]


def _model(cfg, model, size):
    backbone = cfg.model.get('backbone') or {}
    arch = backbone.get('arch', backbone.get('depth', ''))
    shown = ('drop_path_rate', 'use_grn', 'with_cp')
    settings = ', '.join(f'{key} {backbone[key]}' for key in shown if backbone.get(key))
    yield f'{type_name(cfg.model)} on {type_name(backbone)}' + (
        f' {arch if isinstance(arch, str) else dict(arch) if hasattr(arch, "keys") else arch}'
        if arch else '') + (f', {settings}' if settings else '')
    start = cfg.get('load_from') or (cfg.get('init_from') or {}).get('source')
    weights = (backbone.get('init_cfg') or {}).get('checkpoint') if isinstance(
        backbone.get('init_cfg'), dict) else None
    yield f'starts from {start}' if start else f'the backbone starts from {weights}' if weights \
        else 'starts from nothing'
    if size is None:
        count = sum(parameter.numel() for parameter in model.parameters())
        yield f'{count / 1e6:.1f} M parameters'
        return
    try:
        counted = measure_complexity(model.eval(), size, *_tested_rois(cfg))
    except InputError:  # of another kind: the parts are not known
        count = sum(parameter.numel() for parameter in model.parameters())
        yield f'{count / 1e6:.1f} M parameters'
        return
    for name, part in (*counted.parts.items(), ('whole', counted.total)):
        yield f'{name:<15}{part.params / 1e6:8.2f} M parameters {part.macs / 1e9:9.2f} G ' \
              f'multiply-adds at {size[1]}x{size[0]}'


def _tested_rois(cfg):
    """RoIs of an image that the box heads and the mask heads see in a test."""
    test_cfg = cfg.model.get('test_cfg') or {}
    return ((test_cfg.get('rpn') or {}).get('max_per_img', PROPOSALS),
            (test_cfg.get('rcnn') or {}).get('max_per_img', MASKS))


def _data(cfg):
    classes: Sequence[str] = ()
    shown = None
    for loader in LOADERS:
        for dataset in data_sets((cfg.get(loader) or {}).get('dataset')):
            classes = classes or names_of(dataset)
            root = str(dataset.get('data_root') or '.')
            if root != shown:
                yield f'in {root}'
                shown = root
            yield f'{loader.removesuffix("_dataloader"):<6}{_data_set(dataset)}'
    if classes:
        more = f' and {len(classes) - MOST_NAMES} more' if len(classes) > MOST_NAMES else ''
        yield f'{counted(len(classes), "class", "classes")}: ' \
              f'{", ".join(classes[:MOST_NAMES])}{more}'


def _data_set(dataset):
    images, annotations, root = _places(dataset)
    count = _count_images(root / annotations, root / images, dataset.get('img_suffix', '.jpg'))
    return f'{type_name(dataset)}, {images} and {annotations}' + (
        ' (not there)' if not (root / annotations).exists() else f': {count} images'
        if count is not None else '')


def _places(dataset):
    """Folder of the images, file or folder of the annotations, and the root of both."""
    prefix = dataset.get('data_prefix') or {}
    return (str(prefix.get('img') or prefix.get('img_path') or ''),
            str(dataset.get('ann_file') or prefix.get('seg_map_path') or ''),
            Path(str(dataset.get('data_root') or '')))


def _count_images(annotations, images, suffix):
    """The number of images, where it is quickly found."""
    if annotations.is_file() and annotations.suffix == '.json':
        if annotations.stat().st_size > LARGEST_FILE:
            return None
        try:
            return len(json.loads(annotations.read_bytes())['images'])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
    if annotations.is_dir() and images.is_dir():
        return sum(1 for path in images.rglob(f'*{suffix}'))
    return None


def _augmentation(cfg):
    for step in training_pipeline(cfg):
        if isinstance(step, dict) and type_name(step) not in PLAIN_STEPS:
            yield _in_words(step)


def _in_words(step: Any) -> str:
    """A step of a pipeline: its name and settings."""
    if isinstance(step, (list, tuple)) and any(isinstance(one, dict) for one in nested(list(step))):
        return '[' + '; '.join(_in_words(one) for one in step) + ']'
    if not isinstance(step, dict):
        return str(tuple(step)) if isinstance(step, (list, tuple)) else str(step)
    rest = ', '.join(f'{key} {_in_words(value)}' for key, value in step.items() if key != 'type')
    return f'{type_name(step) or ""} {rest}'.strip()


def _schedule(cfg, batch):
    train: Any = cfg.get('train_cfg') or {}
    count = _training_images(cfg)
    if 'max_iters' in train:
        passes = f', {train.max_iters * batch / count:.0f} passes over {count} images' if count \
            else ''
        yield f'{train.max_iters} steps{passes}; validation every {train.get("val_interval", "-")}'
    elif 'max_epochs' in train:
        yield f'{train.max_epochs} epochs; validation every {train.get("val_interval", 1)}'
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    if optimizer:
        yield _in_words({key: value for key, value in optimizer.items()})
    clip = (cfg.get('optim_wrapper') or {}).get('clip_grad')
    if clip:
        yield f'gradients clipped: {_in_words(clip)}'
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]:
        yield _scheduler(scheduler)


def _scheduler(scheduler):
    """What a schedule does to the learning rate."""
    unit = 'epoch' if scheduler.get('by_epoch', True) else 'step'
    span = ''.join(f' {word} {unit} {scheduler[key]}' for key, word in (
        ('begin', 'from'), ('end', 'to')) if key in scheduler)
    kind = type_name(scheduler) or ''
    known = {
        'LinearLR': lambda: f'from {scheduler.start_factor:g} of it to {_end_factor(scheduler):g}',
        'OneCycleLR': lambda: f'up to {scheduler.eta_max:g} in the first '
                              f'{scheduler.get("pct_start", .3):.0%} of {scheduler.total_steps} '
                              'steps, then down to nothing',
        'PolyLR': lambda: f'down to {scheduler.get("eta_min", 0):g} with power '
                          f'{scheduler.get("power", 1):g}',
        'CosineAnnealingLR': lambda: 'down as a cosine to ' + (
            f'{scheduler.eta_min_ratio:g} of it' if 'eta_min_ratio' in scheduler
            else f'{scheduler.get("eta_min", 0):g}'),
        'MultiStepLR': lambda: f'times {scheduler.get("gamma", .1):g} at {unit} '
                               f'{", ".join(map(str, scheduler.milestones))}'}
    try:
        return f'lr {known[kind]()}{span}'
    except (KeyError, AttributeError, TypeError, ValueError):
        return _in_words(scheduler)


def _end_factor(scheduler):
    return scheduler.get('end_factor', 1.)


def _training_images(cfg):
    dataset = next(iter(data_sets((cfg.get('train_dataloader') or {}).get('dataset'))), None)
    if dataset is None:
        return None
    images, annotations, root = _places(dataset)
    return _count_images(root / annotations, root / images, dataset.get('img_suffix', '.jpg'))


def _rates(cfg: Config, model: Any) -> Iterator[str]:
    for group in rate_groups(cfg, model):
        parts = ', '.join(group.parts[:MOST_PARTS]) + (
            f' and {len(group.parts) - MOST_PARTS} more' if len(group.parts) > MOST_PARTS else '')
        decay = f'weight decay {group.weight_decay:g} on {group.decayed / 1e6:.2f} M' \
            if group.decayed else 'no weight decay'
        yield f'{group.lr:<9.3g}{group.parameters / 1e6:8.2f} M parameters, {decay}: {parts}'


def _batch(cfg, batch):
    text = f'{batch} images a step and process'
    accumulated = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    if accumulated > 1:
        text += f', gradients of {accumulated} steps together'
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if base:
        text += f'; the learning rate is for {base} in all (--auto-scale-lr)'
    workers = (cfg.get('train_dataloader') or {}).get('num_workers', 0)
    return f'{text}; images are loaded by {workers} processes' if workers else text


def _memory(cfg, size, batch):
    if size is None:
        return 'unknown: no step of the training pipeline sets a size'
    try:
        memory = estimate_training_memory(cfg, size, batch)
    except InputError:
        return (f'not estimated: the parts of {type_name(cfg.model)} are not known; '
                '`convnext-dense train --batch auto` tries what fits')
    precision = 'mixed precision' if is_mixed_precision(cfg) else 'float32'
    return (f'about {memory.total / 2**30:.2f} GiB for a training step of {batch} images of '
            f'{size[1]}x{size[0]} in {precision}, estimated from shapes: '
            f'{memory.state / 2**30:.2f} for weights, gradients and moments, '
            f'{memory.kept / 2**30:.2f} for the backward pass')
