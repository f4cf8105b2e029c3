"""Ending a run after the running step, with a saved state: on a signal, or after bad steps."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import EMAHook

from convnext_dense.command_names import typed_again
from convnext_dense.errors import InputError
from convnext_dense.runtime import files
from convnext_dense.runtime.checkpoint_hook import CheckpointHook, is_between_updates
from convnext_dense.runtime.progress import SHOWN
from convnext_dense.runtime.stop_signals import SIGNALS, exit_status, name_of

if TYPE_CHECKING:
    from convnext_dense.runtime.runner import Runner


def stop_if_asked(runner: Runner) -> None:
    """End the run after a training step and its hooks, where any process has a reason to.

    Raises:
        SystemExit: a signal came.
        InputError: too many steps were not finite.
    """
    asked = runner.stop_signals.agreed(1 if runner.non_finite_guard.stop else 0)
    if asked and is_between_updates(runner):
        _stop(runner, asked)


def stop_evaluation_if_asked(runner: Runner) -> None:
    """End the run after a step of the validation inside of a training, where a signal came.

    Raises:
        SystemExit: a signal came.
    """
    asked = runner.stop_signals.agreed()
    if not asked or not is_between_updates(runner):
        return
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            hook.after_val_epoch(runner)  # the averages were in the place of the weights
    runner.train_loop._iter -= 1  # as inside the last step, where checkpoints are written
    _stop(runner, asked)


def save_now(runner: Runner) -> str:
    """Write the state after the running step; all processes must call it.

    Returns:
        the checkpoint.
    """
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            return hook.save_now(runner)
    name = f'iter_{runner.iter + 1}.pth'
    runner.save_checkpoint(runner.work_dir, name, by_epoch=False)
    path = os.path.join(runner.work_dir, name)
    if is_main_process():
        files.move_pointer(runner.work_dir, path)
    return path


def _stop(runner, asked):
    path = save_now(runner)
    barrier()  # or a launcher that sees another process end kills the one that still writes
    if asked in SIGNALS:
        runner.logger.info(f'{name_of(asked)}: the state after iteration {runner.iter + 1} is in '
                           f'{path}; go on with: {typed_again("--resume")}', extra=SHOWN)
        raise SystemExit(exit_status(asked))
    why = runner.non_finite_guard.stop or 'another process had to stop'
    raise InputError(f'{why}. The state before it is in {path}')
