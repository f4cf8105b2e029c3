"""What a checkpoint holds: mmengine's parts, and beside them what an exact resume needs."""
from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mmengine.dist import all_gather_object, get_world_size, is_main_process
from mmengine.runner.checkpoint import weights_to_cpu
from mmengine.utils import apply_to, get_git_hash
from mmengine.version import __version__ as mmengine_version

from convnext_dense.model_wrappers import unwrap
from convnext_dense.runtime.random_state import random_state
from convnext_dense.runtime.sharding import whole, whole_state_dict

if TYPE_CHECKING:
    from torch import Tensor, nn

    from convnext_dense.runtime.runner import Runner

FORMAT = 1


def random_states(model: nn.Module) -> list[dict[str, Any]]:
    """The random state of each process; all of them must call it.

    Args:
        model: of this process; those but the first give its running statistics, too.
    """
    own = random_state()
    if get_world_size() == 1:
        return [own]
    if not is_main_process():
        # without SyncBN each process has running statistics of its own
        own['statistics'] = _statistics(model)
    return all_gather_object(own)


def checkpoint_content(runner: Runner, randoms: list[dict[str, Any]], written: float,
                       save_optimizer: bool, save_param_scheduler: bool, meta: dict | None,
                       by_epoch: bool, validated: bool) -> dict[str, Any]:
    """The content of a checkpoint; the tensors are those of the run.

    Args:
        runner: of the main process; of a sharded run all processes bring their parts together,
            and those but the first keep no tensor.
        randoms: of :func:`random_states`.
        written: time in seconds.
        save_optimizer, save_param_scheduler, meta, by_epoch: mmengine's.
        validated: the validation after the last step is done.
    """
    meta = dict(meta or {})
    meta.setdefault('epoch', runner.epoch + 1 if by_epoch else runner.epoch)
    meta.setdefault('iter', runner.iter if by_epoch else runner.iter + 1)
    meta.update(cfg=runner.config_text, seed=runner.seed,
                experiment_name=runner.experiment_name,
                time=time.strftime('%Y%m%d_%H%M%S', time.localtime()),
                mmengine_version=mmengine_version + get_git_hash())
    meta.update(runner.trainable.meta())
    if hasattr(runner.train_dataloader.dataset, 'metainfo'):
        meta.update(dataset_meta=runner.train_dataloader.dataset.metainfo)
    model, keep = unwrap(runner.model), runner.rank == 0
    state = whole_state_dict(model, keep)
    checkpoint = dict(meta=meta, state_dict=weights_to_cpu(state) if keep else state,
                      message_hub=_to_cpu(runner.message_hub.state_dict()))
    if save_optimizer:
        checkpoint['optimizer'] = _to_cpu(whole(runner.optim_wrapper.state_dict(), keep))
    if save_param_scheduler and runner.param_schedulers is not None:
        checkpoint['param_schedulers'] = _scheduler_states(runner.param_schedulers)
    checkpoint['convnext_dense'] = _own_part(runner, randoms, written, validated)
    return checkpoint


def _own_part(runner, randoms, written, validated):
    """What mmengine does not keep."""
    loop = runner.train_loop
    progress = loop.progress() if hasattr(loop, 'progress') else None
    if progress and validated:
        progress['validation_due'] = False
    return dict(format=FORMAT, run_id=runner.run_id, written=written, progress=progress,
                run=describe_run(runner), fingerprint=runner.fingerprint(), random=randoms,
                skipped=runner.non_finite_guard.skipped)


def describe_run(runner: Runner) -> dict[str, Any]:
    """What decides which image is used when: processes, batch size, number of images, length."""
    loader = runner.train_loop.dataloader
    return dict(world_size=runner.world_size,
                batch_size=getattr(loader.batch_sampler, 'batch_size', None),
                samples=len(loader.dataset), max_epochs=runner.max_epochs,
                max_iters=runner.max_iters, seed=runner.seed)


def _statistics(model: nn.Module) -> dict[str, Tensor]:
    """The running statistics of a model's batch norms, by name."""
    return {name: value.cpu() for name, value in model.state_dict().items()
            if name.endswith(('.running_mean', '.running_var', '.num_batches_tracked'))}


def _to_cpu(states):
    return apply_to(states, lambda value: hasattr(value, 'cpu'), lambda value: value.cpu())


def _scheduler_states(schedulers):
    if isinstance(schedulers, dict):
        return {name: _scheduler_states(group) for name, group in schedulers.items()}
    # a scheduler's method (OneCycleLR keeps one) would bring the object itself into the file,
    # which then no longer holds plain data only
    return [{key: value for key, value in scheduler.state_dict().items() if not callable(value)}
            for scheduler in schedulers]
