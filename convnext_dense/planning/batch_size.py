"""The batch size of a training: the largest that fits, and the settings that follow it.

Pure functions; what fits is measured by :mod:`convnext_dense.analysis.batch_trial`.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from convnext_dense.config_nodes import type_name
from convnext_dense.optim.batch_scaling import change_rates, lr_factor, lr_rule
from convnext_dense.wording import counted

#: images a step that ``auto`` never exceeds: twice the published recipes', beyond which the rule
#: for the learning rate has not been tried
MOST = 32
#: share of the free memory that a training may be expected to take
SHARE = .85
#: settings of schedules that count steps
STEP_KEYS = ('begin', 'end', 'T_max', 'total_steps', 'step_size', 'milestones', 'periods')


def most_to_try(images: int, least: int) -> int:
    """The largest batch that ``auto`` considers: half of the training images, at most ``MOST``."""
    return max(min(images // 2, MOST), least)


def largest_batch(fits: Callable[[int], bool], least: int, most: int) -> int | None:
    """The largest batch that fits, found by doubling and then halving the gap.

    Args:
        fits: tries a batch; what fits stays so for smaller ones.
        least, most: of the sizes that may be tried.

    Returns:
        None where not even ``least`` fits.
    """
    if not fits(least):
        return None
    good, bad = least, most + 1
    while good < most:
        trial = min(good * 2, most) if bad > most else (good + bad) // 2
        if trial == good:
            break
        if fits(trial):
            good = trial
        else:
            bad = trial
    return good


def largest_by_line(peaks: Mapping[int, float], free: float, most: int) -> int | None:
    """The largest batch whose memory, on the line through two measured ones, is free.

    Args:
        peaks: memory in bytes of at least two batch sizes; the two largest make the line.
        free: bytes that may be taken.
        most: of the sizes to answer.

    Returns:
        None where not even the smallest measured one fits.
    """
    (small, low), (large, high) = sorted(peaks.items())[-2:]
    slope = max((high - low) / (large - small), 0.)
    if slope == 0:
        return most if high <= free else None
    batch = int((free - high) / slope + large)
    return min(batch, most) if batch >= min(peaks) else None


def apply_batch_size(cfg: Any, batch: int, scale_lr: bool = True) -> list[str]:
    """Set the images a step, and what follows: learning rate and number of steps.

    Learning rates follow as the optimizer, or ``auto_scale_lr.rule``, asks for, see
    :mod:`convnext_dense.optim.batch_scaling`. A training that is counted in steps gets so many
    that it sees as many images as before.

    Args:
        cfg (Config): of a training; changed in place.
        batch: images a step and process.
        scale_lr: False leaves the learning rates alone.

    Returns:
        What changed, in a few words each.
    """
    old = cfg.train_dataloader.batch_size
    cfg.train_dataloader.batch_size = batch
    factor = batch / old
    changed = [f'{counted(batch, "image")} a step'
               + (f' (the config says {old})' if batch != old else '')]
    if factor == 1:
        return changed
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    lr = optimizer.get('lr')
    if scale_lr and isinstance(lr, (int, float)):
        auto = cfg.get('auto_scale_lr') or {}
        scale = lr_factor(batch, old, lr_rule(type_name(optimizer), auto.get('rule')))
        optimizer['lr'] = _rate(lr * scale)
        changed.append(f'lr {lr:g} becomes {optimizer["lr"]:g}')
        change_rates(_schedulers(cfg), lambda rate: _rate(rate * scale))
        if 'base_batch_size' in auto:  # which the new rate is for
            auto['base_batch_size'] = max(round(auto['base_batch_size'] * factor), 1)
    if 'max_iters' in cfg.train_cfg:
        changed.append(f'{cfg.train_cfg.max_iters} steps become '
                       f'{_steps(cfg.train_cfg.max_iters, factor)}, of as many images')
        _change(cfg.train_cfg, ('max_iters', 'val_interval', 'val_begin'),
                lambda steps: _steps(steps, factor))
        for scheduler in _schedulers(cfg):
            if not scheduler.get('by_epoch', True):
                _change(scheduler, STEP_KEYS, lambda steps: _steps(steps, factor))
        checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
        if not checkpoint.get('by_epoch', True):
            _change(checkpoint, ('interval', 'save_begin'), lambda steps: _steps(steps, factor))
    return changed


def _schedulers(cfg):
    schedulers = cfg.get('param_scheduler') or []
    return schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]


def _rate(rate):
    return float(f'{rate:.3g}')


def _steps(steps, factor):
    return max(round(steps / factor), 1) if steps > 0 else steps


def _change(node, keys, change):
    for key in keys:
        value = node.get(key)
        if isinstance(value, (list, tuple)):
            node[key] = [change(one) for one in value]
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            node[key] = change(value)
