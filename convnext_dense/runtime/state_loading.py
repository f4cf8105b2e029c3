"""Loading a state of training into model, optimizer, schedules and message hub."""
from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from mmengine.logging import print_log
from mmengine.optim import OptimWrapperDict

from convnext_dense.checkpoints.values import check_values
from convnext_dense.errors import InputError
from convnext_dense.model_wrappers import unwrap
from convnext_dense.runtime.fingerprint import IMPLEMENTATION
from convnext_dense.runtime.sharding import is_sharded, part_of_optimizer
from convnext_dense.runtime.state_checks import (
    check_groups,
    check_hub,
    check_kinds,
    check_optimizer,
)

if TYPE_CHECKING:
    from convnext_dense.runtime.runner import Runner


def load_states(runner: Runner, checkpoint: dict[str, Any], filename: str,
                resume_optimizer: bool = True, resume_schedulers: bool = True) -> None:
    """Load model, optimizer, schedulers and message hub.

    Raises:
        InputError: weights only, or of another model or optimizer.
    """
    for key in ('meta', 'state_dict', 'message_hub', 'optimizer'):
        if key not in checkpoint:
            raise InputError(f'{filename} has no {key!r}: it is no state of a training; start '
                             'from it with load_from')
    check_hub(checkpoint['message_hub'], filename)
    try:
        unwrap(runner.model).load_state_dict(checkpoint['state_dict'], strict=True)
    except RuntimeError as error:
        raise InputError(f'{filename} is of another model: {_short(error)}; resume with the config '
                         'that wrote it, or start from its weights with load_from') from error
    check_values(checkpoint['state_dict'], filename)  # of the file: a process may hold a part
    runner.message_hub.load_state_dict(checkpoint['message_hub'])
    if resume_optimizer:
        state = dict(checkpoint['optimizer'])
        if not state.get('loss_scaler'):  # of a run without loss scaling, in bfloat16 say
            state.pop('loss_scaler', None)
            _say_new_scaler(runner.optim_wrapper, filename)
        _keep_implementation(runner.optim_wrapper, state)
        _check_optimizer_state(runner.optim_wrapper, state, filename)
        if is_sharded(runner.model):
            state = part_of_optimizer(runner.optim_wrapper.optimizer, state)
        try:
            runner.optim_wrapper.load_state_dict(state)
        except (ValueError, KeyError) as error:
            raise InputError(f'{filename} is of another optimizer: {_short(error)}; resume with '
                             'the config that wrote it') from error
        for optimizer in _optimizers(runner.optim_wrapper):
            check_optimizer(optimizer, filename)
    if resume_schedulers and runner.param_schedulers is not None:
        _load_schedulers(runner.param_schedulers, checkpoint.get('param_schedulers'), filename)
    kept, now = (meta and dict(meta).get('classes') for meta in (
        checkpoint['meta'].get('dataset_meta'),
        getattr(runner.train_dataloader.dataset, 'metainfo', None)))
    if kept is not None and now is not None and tuple(kept) != tuple(now):
        raise InputError(f'{filename} was trained on the classes {list(kept)}, the config has '
                         f'{list(now)}; start from its weights with load_from')


def _keep_implementation(optim_wrapper, state):
    """Keep how the update is computed (fused or not): a loss scaler relies on the config's way."""
    groups, kept = (getattr(getattr(optim_wrapper, 'optimizer', None), 'param_groups', None),
                    state.get('param_groups'))
    if groups is None or not isinstance(kept, (list, tuple)):
        return
    state['param_groups'] = [
        dict(old, **{key: group[key] for key in IMPLEMENTATION if key in group})
        for group, old in zip(groups, kept)] + list(kept[len(groups):])


def _optimizers(optim_wrapper):
    wrappers = optim_wrapper.values() if isinstance(optim_wrapper, OptimWrapperDict) else [
        optim_wrapper]
    return [wrapper.optimizer for wrapper in wrappers if hasattr(wrapper, 'optimizer')]


def _check_optimizer_state(optim_wrapper, state, filename):
    if isinstance(optim_wrapper, OptimWrapperDict):
        for name, wrapper in optim_wrapper.items():
            _check_optimizer_state(wrapper, state[name], filename)
        return
    own = optim_wrapper.state_dict()
    check_groups(own['param_groups'], state['param_groups'], filename)
    check_kinds(own.get('loss_scaler') or {}, state.get('loss_scaler') or {}, 'the loss scaler',
                filename)


def _say_new_scaler(optim_wrapper, filename):
    scaler = getattr(optim_wrapper, 'loss_scaler', None)
    if scaler is not None and scaler.is_enabled():
        print_log(f'{filename} was written without loss scaling: the scale starts at '
                  f'{scaler.get_scale():g}', 'current', logging.WARNING)


def _load_schedulers(schedulers, states, filename):
    groups = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
    kept = states.values() if isinstance(states, dict) else [states]
    for group, group_states in zip(groups, kept):
        if group_states is None or len(group) != len(group_states):
            raise InputError(f'{filename} has {len(group_states or ())} schedules of the learning '
                             f'rate, the config {len(group)}; resume with the config that wrote '
                             'it')
        for scheduler, state in zip(group, group_states):
            # load_state_dict takes anything
            check_kinds(scheduler.state_dict(), state, 'a schedule', filename)
            scheduler.load_state_dict(state)


def _short(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ' '.join(lines)[:300]
