"""The learning rate for another number of images a step.

The noise of SGD's gradients asks for a learning rate that grows with the batch (arXiv 1706.02677),
that of Adam and its relatives, which divide by the gradients' root mean square, for one that grows
with the root of the batch (arXiv 2205.10287).
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convnext_dense.errors import InputError
from convnext_dense.wording import counted

RULES = ('linear', 'sqrt')
#: optimizers whose step follows the batch itself, by torch's names
LINEAR = ('SGD', 'ASGD', 'LBFGS')
#: settings of schedules that are learning rates
RATE_KEYS = ('eta_max', 'eta_min')


def lr_rule(optimizer: str | None, rule: str | None = None) -> str:
    """``linear`` or ``sqrt``.

    Args:
        optimizer: its type's name.
        rule: of the config, in the place of the optimizer's.

    Raises:
        InputError: there is no such rule.
    """
    if rule not in (None, *RULES):
        raise InputError(f'auto_scale_lr.rule={rule!r}; give one of {", ".join(RULES)}, or leave '
                         "it out for the optimizer's own")
    return rule or ('linear' if optimizer in LINEAR else 'sqrt')


def lr_factor(batch: int, base: int, rule: str) -> float:
    """What a learning rate for ``base`` images a step is multiplied by for ``batch`` of them."""
    return batch / base if rule == 'linear' else (batch / base)**.5


def described_batch(batch: int, processes: int, accumulated: int) -> str:
    """``16 images a step (2 a process x 4 processes x 2 steps together)``."""
    factors = [f'{batch} a process', *([f'{processes} processes'] if processes > 1 else []),
               *([f'{accumulated} steps together'] if accumulated > 1 else [])]
    shares = f' ({" x ".join(factors)})' if len(factors) > 1 else ''
    return f'{counted(batch * processes * accumulated, "image")} a step{shares}'


def change_rates(schedules: Any, change: Callable[[float], float]) -> None:
    """Change the learning rates that schedules name, in place.

    Args:
        schedules: one config of a schedule, or a list of them, or dicts of lists.
        change: gives the new rate.
    """
    if isinstance(schedules, Mapping) and 'type' not in schedules:
        schedules = list(schedules.values())
    if isinstance(schedules, Sequence) and not isinstance(schedules, str):
        for schedule in schedules:
            change_rates(schedule, change)
    elif isinstance(schedules, dict):
        for key in RATE_KEYS:
            value = schedules.get(key)
            if isinstance(value, (list, tuple)):
                schedules[key] = [change(rate) for rate in value]
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                schedules[key] = change(value)
