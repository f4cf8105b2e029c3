"""The learning rates that the parts of a model train with."""
from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from convnext_dense.errors import convert_errors

#: settings of a wrapper or an optimizer that say how an update is computed, not which
IMPLEMENTATION = ('fused', 'foreach', 'capturable')
PRECISION = ('loss_scale', 'dtype', 'use_fsdp')
MOST_PARTS = 2  # of a group that its name lists


class RateGroup(NamedTuple):
    """Parameters of one learning rate.

    Attributes:
        lr: the rate.
        parameters: their number.
        decayed: how many of them have weight decay.
        weight_decay: of those.
        parts: where they are: neck and heads, then the backbone from its input on.
    """
    lr: float
    parameters: int
    decayed: int
    weight_decay: float
    parts: list[str]


def rate_groups(cfg: Config, model: nn.Module) -> list[RateGroup]:
    """The optimizer's groups, those of one learning rate together, the highest first.

    Frozen parameters are left out.

    Args:
        cfg: its ``optim_wrapper`` is built, without steps.
        model: of shapes alone.

    Raises:
        InputError: the settings do not fit the model.
    """
    wrapper = {key: value for key, value in copy.deepcopy(cfg.optim_wrapper).items()
               if key not in PRECISION}
    wrapper['type'] = 'OptimWrapper'
    for key in IMPLEMENTATION:
        wrapper['optimizer'].pop(key, None)
    with convert_errors('optim_wrapper', 'look at its settings in the config'):
        optimizer = build_optim_wrapper(model, wrapper).optimizer
    return [_together(rate, groups, names)
            for rate, groups, names in _by_rate(optimizer, model)]


def optimizer_groups(optim_wrapper: Any, model: nn.Module) -> dict[str, Callable[[], float]]:
    """The learning rates of a run, now and at each later step.

    Args:
        optim_wrapper: of the run, with one optimizer or several.
        model: its model, not wrapped.

    Returns:
        dict: by the name of the group, the highest rate first, what gives its rate.
    """
    optimizer = getattr(optim_wrapper, 'optimizer', None)
    if not hasattr(optimizer, 'param_groups'):  # several optimizers
        return {name: partial(_first_rate, optim_wrapper, name) for name in optim_wrapper.get_lr()}
    found: dict[str, Callable[[], float]] = {}
    for rate, groups, names in _by_rate(optimizer, model):
        name = _short(_together(rate, groups, names).parts)
        while name in found:  # parts that have several rates
            name += ' (others)'
        found[name] = partial(_rate, groups[0]['group'])
    return found if len(found) > 1 else dict(zip(['all parameters'], found.values()))


def _rate(group):
    return float(group['lr'])


def _first_rate(optim_wrapper, name):
    return float(optim_wrapper.get_lr()[name][0])


def _short(parts):
    return ', '.join(parts) if len(parts) <= MOST_PARTS else f'{parts[0]} ... {parts[-1]}'


def _by_rate(optimizer, model):
    """For each rate that parameters start with, the highest first: its groups and all names."""
    names = {id(parameter): name for name, parameter in model.named_parameters()
             if parameter.requires_grad}
    by_rate = defaultdict(list)
    for group in optimizer.param_groups:
        trained = [parameter for parameter in group['params'] if id(parameter) in names]
        if trained:  # a schedule moves lr and leaves initial_lr
            rate = float(f'{group.get("initial_lr", group["lr"]):.6g}')
            by_rate[rate].append(dict(group, params=trained, group=group))
    for rate, groups in sorted(by_rate.items(), reverse=True):
        yield rate, groups, names


def _together(rate, groups, names):
    count, decayed, decay, found = 0, 0, 0., set()
    for group in groups:
        numbers = sum(parameter.numel() for parameter in group['params'])
        count += numbers
        if group.get('weight_decay'):
            decayed, decay = decayed + numbers, max(decay, group['weight_decay'])
        found |= {names[id(parameter)] for parameter in group['params']}
    whole = {top for top in {_top(name) for name in found}
             if all(name in found for name in names.values() if _top(name) == top)}
    parts = [_top(name) if _top(name) in whole else _part(name)
             for name in names.values() if name in found]  # in the model's order
    parts.sort(key=lambda part: part.startswith('backbone'))  # heads first
    return RateGroup(rate, count, decayed, decay, list(dict.fromkeys(parts)))


def _top(name):
    return name.partition('.')[0]


def _part(name):
    """``backbone.stages.2.5`` of a block's parameter, ``decode_head`` of a head's."""
    words = name.split('.')
    if words[0] != 'backbone':
        return words[0]
    numbers = [index for index, word in enumerate(words) if word.isdigit()]
    return '.'.join(words[:(numbers[1] if len(numbers) > 1 else numbers[0]) + 1]
                    if numbers else words[:2])
