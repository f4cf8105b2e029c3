"""What a report says of a run besides its numbers: what trains on what, where."""
import os
import time
from collections.abc import Mapping
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, Runner

import convnext_dense
from convnext_dense.analysis.machine import describe_machine
from convnext_dense.model_wrappers import device_of
from convnext_dense.runtime.start_line import commit
from convnext_dense.wording import counted


def facts_of(runner: Runner, more: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a start, as plain values for JSON.

    Args:
        runner (Runner): that is about to train.
        more (Mapping): further facts.
    """
    loader: Any = runner.train_dataloader
    device = device_of(runner.model)
    machine = describe_machine(device.type)
    resumed = getattr(runner, 'resumed_from', None)
    validated = getattr(runner.val_loop, 'dataloader', None)
    batch = getattr(loader.batch_sampler, 'batch_size', None) or loader.batch_size
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    place = machine['gpu']['name'] if 'gpu' in machine else (
        f'{machine["cpu"]}, {counted(machine["threads"], "thread")}')
    return dict(
        config=os.path.basename(getattr(runner.cfg, 'filename', None) or ''),
        model=type(getattr(runner.model, 'module', runner.model)).__name__,
        started=time.strftime('%Y-%m-%d %H:%M:%S'),
        resumed=os.path.basename(resumed) if resumed else '',
        batch=batch, processes=runner.world_size, max_iters=runner.max_iters,
        max_epochs=runner.max_epochs if by_epoch else None,
        training_images=len(loader.dataset),
        validation_images=len(validated.dataset) if validated is not None else None,
        device=place, seed=runner.seed,
        versions=f'convnext_dense {convnext_dense.__version__} (commit {commit()}), torch '
                 f'{machine["packages"]["torch"]}, Python {machine["python"]}',
        **more)
