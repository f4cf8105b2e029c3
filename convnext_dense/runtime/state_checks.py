"""Whether a state of training, read from a file, holds what a run can go on from.

What is loaded into optimizers, schedules and loops is taken by them as it is, and a value of
another kind would end the run later, with another cause named, or never.
"""
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from convnext_dense.errors import InputError
from convnext_dense.runtime.fingerprint import IMPLEMENTATION

#: what optimizers keep of each parameter, in its shape
OF_PARAMETERS = {'exp_avg', 'exp_avg_sq', 'max_exp_avg_sq', 'momentum_buffer'}
#: settings of how an update is computed, which earlier versions of torch did not have
OF_VERSIONS = {*IMPLEMENTATION, 'maximize', 'decoupled_weight_decay'}
MOST_BATCHES = 1000  # for each iteration, where the batch of all processes became smaller
LARGEST_SEED = 2**32 - 1


def damaged(filename: str, what: str) -> InputError:
    """The error of one line."""
    return InputError(f'{filename}: {what}; the file is damaged: resume with another checkpoint, '
                      'or start from its weights with load_from')


def check_counts(counts: Mapping[str, Any], keys: Iterable[str], filename: str) -> None:
    """Raise InputError where a value is no number from 0 on."""
    for key in keys:
        count = counts[key]
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise damaged(filename, f'{key} is {count!r:.60}, expected a number from 0 on')


def check_seed(seed: Any, filename: str) -> None:
    """Raise InputError for a seed that no run has."""
    if seed is not None and (type(seed) is not int or not 0 <= seed <= LARGEST_SEED):
        raise damaged(filename, f'its seed is {seed!r:.60}, expected a number from 0 to '
                                f'{LARGEST_SEED}')


def check_place(progress: Mapping[str, Any], iteration: int, filename: str) -> None:
    """Raise InputError where the place in the data is one that no run of so many steps reaches."""
    if progress['epoch'] > iteration or progress['batch'] > MOST_BATCHES * (iteration + 1):
        raise damaged(filename, f'it is at batch {progress["batch"]} of pass {progress["epoch"]} '
                                f'after {iteration} iterations, which no run reaches')


def check_kinds(own: Any, kept: Any, what: str, filename: str) -> None:
    """Raise InputError where a kept value is of another kind than the run's own.

    Numbers are compared with numbers, texts with texts, dicts key by key. What the run itself has
    no value for, and tensors, are left to whoever loads them.
    """
    if isinstance(own, Mapping) and isinstance(kept, Mapping):
        for key, value in kept.items():
            if key in own:
                check_kinds(own[key], value, f'{key} of {what}', filename)
        return
    for kind, name in ((bool, 'True or False'), ((int, float), 'a number'), (str, 'a text'),
                       (Mapping, 'a dict'), ((list, tuple), 'a list')):
        if isinstance(own, kind):
            fits = isinstance(kept, kind) and (kind is bool or not isinstance(kept, bool)) or (
                isinstance(own, (bool, int, float)) and isinstance(kept, torch.Tensor)
                and kept.numel() == 1)
            if not fits or isinstance(kept, (int, float)) and not abs(kept) < 1e100:
                raise damaged(filename, f'{what} is {kept!r:.60}, expected {name}')
            break
    if isinstance(own, (list, tuple)) and len(own) == len(kept):
        for one, other in zip(own, kept):
            check_kinds(one, other, what, filename)


def check_groups(groups: Sequence[Mapping], kept: Any, filename: str) -> None:
    """Raise InputError where the settings of an optimizer's parameters are of other kinds.

    How many groups and parameters there are is for the optimizer to say.
    """
    if not isinstance(kept, (list, tuple)) or not all(isinstance(one, dict) for one in kept):
        raise damaged(filename, f'param_groups of the optimizer is {kept!r:.60}, expected a list '
                                'of dicts')
    for group, old in zip(groups, kept):
        missing = [key for key in group if key not in old and key not in OF_VERSIONS]
        if missing:
            raise InputError(f'{filename} is of another optimizer: its parameters have no '
                             f'{missing[0]!r}; resume with the config that wrote it')
        check_kinds({key: value for key, value in group.items() if key != 'params'}, old,
                    "a group of the optimizer's parameters", filename)


def check_optimizer(optimizer: torch.optim.Optimizer, filename: str) -> None:
    """Raise InputError where what an optimizer keeps of a parameter does not fit it."""
    keys: set | None = None
    for parameter, state in optimizer.state.items():
        if not isinstance(state, dict):
            raise damaged(filename, f'the optimizer keeps {state!r:.60} of a parameter')
        keys = keys or set(state)
        if set(state) != keys:
            raise damaged(filename, 'the optimizer keeps other values of one parameter than of '
                                    'another')
        for key, value in state.items():
            shape = getattr(value, 'shape', None)
            if key in OF_PARAMETERS and value is not None and (
                    shape != parameter.shape or not value.is_floating_point()) or key == 'step' \
                    and not (isinstance(value, (int, float)) or shape in ((), (1, ))):
                raise damaged(filename, f'{key} of the optimizer is {_told(value)}, which does '
                                        f'not fit a parameter of the shape '
                                        f'{tuple(parameter.shape)}')


def check_hub(hub: Any, filename: str) -> None:
    """Raise InputError where a message hub's state has not the kinds of values that it must."""
    parts = {key: hub.get(key) if isinstance(hub, dict) else None
             for key in ('log_scalars', 'runtime_info', 'resumed_keys')}
    for name, part in parts.items():
        if not isinstance(part, dict) or not all(isinstance(key, str) for key in part):
            raise damaged(filename, f'{name} of its message hub is {part!r:.60}, expected a dict '
                                    'of names')
    for key, value in (parts['runtime_info'] or {}).items():
        if key.startswith('best_score') and (isinstance(value, bool) or not isinstance(
                getattr(value, 'item', lambda value=value: value)(), (int, float))):
            raise damaged(filename, f'{key} is {value!r:.60}, expected a number')


def _told(value: Any) -> str:
    return f'a tensor of the shape {tuple(value.shape)} and type {value.dtype}' if isinstance(
        value, torch.Tensor) else f'{value!r:.60}'
