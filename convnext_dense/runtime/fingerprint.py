"""What decides the numbers of a training run, as plain values that a later start is compared with.

A resumed run is exact only where none of it changed. The state of the optimizer and of the
schedules is the checkpoint's, so what it holds (learning rate, weight decay, betas, the course of
the schedule) is the checkpoint's, too; everything else is the config's.
"""
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch

from convnext_dense.acceleration import Acceleration
from convnext_dense.acceleration.triton import chosen_kernels

PARTS = ('model', 'optim_wrapper', 'param_scheduler', 'train_dataloader', 'custom_hooks',
         'memory_format', 'find_unused_parameters', 'auto_scale_lr',
         'freeze', 'lora', 'parallel')
#: settings that change no number, or that are compared as numbers of images and processes
IGNORED = {'num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor', 'data_root',
           'batch_size', 'init_cfg', 'loss_scale'}
#: settings that an optimizer's state or a schedule's holds
IN_STATE = ('optim_wrapper.optimizer.', 'optim_wrapper.paramwise_cfg', 'optim_wrapper.constructor',
            'param_scheduler')
#: ways to compute the same update, which a state must not carry to another device
IMPLEMENTATION = ('fused', 'foreach', 'capturable', 'differentiable')
LONGEST = 60  # characters of a value that is kept as it is
MOST_NAMED = 8


def fingerprint(cfg: Mapping[str, Any], device: torch.device, deterministic: bool = False,
                ) -> dict[str, str]:
    """What decides the numbers of a run, flat: ``{'optim_wrapper.optimizer.lr': '0.0001', ...}``.

    Args:
        cfg: the resolved config.
        device: of the model.
        deterministic: the run's setting.
    """
    values = {}
    for part in PARTS:
        for name, value in _flatten(part, cfg.get(part)):
            values[name] = value
    # with its defaults, which another version of the toolkit may have changed
    kernels = Acceleration.from_config(cfg.get('acceleration'), cfg.get('compile'))
    values.update(_flatten('acceleration', asdict(kernels) if kernels else False))
    if kernels:  # what auto means depends on the machine, and numbers on the version
        runs, form = chosen_kernels(kernels.ops, device)
        values['acceleration.ops'] = form if runs else 'torch'
    # str: a checkpoint holds plain values only, and torch's version is of a class of its own
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type
    return dict(values, device=name, torch=str(torch.__version__), deterministic=str(deterministic))


def _flatten(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            if key not in IGNORED:
                yield from _flatten(f'{name}.{key}', value[key])
    elif isinstance(value, (list, tuple)) and any(isinstance(one, (Mapping, list, tuple))
                                                  for one in value):
        for number, one in enumerate(value):
            yield from _flatten(f'{name}.{number}', one)
    elif value is not None:
        yield name, _text(value)


def _text(value):
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, tuple):  # a config that was written and read has lists
        value = list(value)
    text = str(value)
    if len(text) > LONGEST:
        return f'{text[:LONGEST]}... ({hashlib.sha256(text.encode()).hexdigest()[:8]})'
    return text


def differences(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between two fingerprints, and whose value is used."""
    found = []
    for name in sorted(was.keys() | now.keys(), key=lambda name: (not _in_state(name), name)):
        one, other = was.get(name, 'not set'), now.get(name, 'not set')
        if one != other:
            found.append(f'{name} was {one} and is {other} ('
                         f'{"the checkpoint" if _in_state(name) else "the config"}\'s is used)'
                         if '.' in name else f'{name} was {one} and is {other}')
    if len(found) > MOST_NAMED:
        found[MOST_NAMED:] = [f'and {len(found) - MOST_NAMED} more settings']
    return found


def _in_state(name):
    last = name.rsplit('.', 1)[-1]
    return name.startswith(IN_STATE) and last != 'type' and last not in IMPLEMENTATION
