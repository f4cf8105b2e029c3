"""Going on where a checkpoint was written: what is exact, approximate and refused.

========================================  ====================================================
same processes, batch size and data       exact: the weights at the end are bit-identical (on a
                                          GPU with deterministic=True)
other number of data workers              exact: no random state depends on the workers
other processes, same batch in all        approximate: same images and augmentations a step,
                                          other rounding, dropped paths and sampled regions
other batch size in all                   approximate: goes on at the same image of the pass;
                                          iterations of an epoch-based run are counted anew
other number of images                    approximate: goes on at the same batch, the order of
                                          this pass is another
other settings of model, losses,          approximate: the config's are used
pipeline, clipping, device, torch
other learning rate, weight decay,        approximate: the checkpoint's are used, as they are part
schedule                                  of the state of the optimizer and of the schedules
longer or shorter schedule                approximate: the learning rate follows the schedule of
                                          the checkpoint
schedule shorter than what is done        refused
epochs <-> iterations, another model      refused
checkpoint of mmengine's own runner       approximate: the epoch starts at its first batch, the
                                          random state is new
========================================  ====================================================
"""
from __future__ import annotations

import logging
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info
from mmengine.logging import print_log

from convnext_dense.checkpoints.reading import is_whole
from convnext_dense.errors import InputError
from convnext_dense.model_wrappers import device_of, unwrap
from convnext_dense.runtime.checkpoint_content import describe_run
from convnext_dense.runtime.checkpoint_folder import CheckpointFolder
from convnext_dense.runtime.fingerprint import differences
from convnext_dense.runtime.newest_checkpoint import newest_whole, read_outline, run_of
from convnext_dense.runtime.random_state import random_state, seed_all, seeded
from convnext_dense.runtime.state_checks import (
    check_counts,
    check_kinds,
    check_place,
    check_seed,
)

if TYPE_CHECKING:
    import torch

    from convnext_dense.runtime.runner import Runner


@dataclass
class Start:
    """Where a run starts: at a checkpoint, or at its beginning.

    Attributes:
        path: the checkpoint, or None.
        seed: the run's, from the checkpoint.
        run_id: the identity of the run, which a resumed run keeps.
        lines: to log.
    """

    path: str | None = None
    seed: int | None = None
    run_id: str = field(default_factory=lambda: secrets.token_hex(8))
    lines: list[str] = field(default_factory=list)


def choose(work_dir: str, requested: str | None = None,
           checkpoints: CheckpointFolder | None = None) -> Start:
    """Where a resumed run starts.

    Args:
        work_dir: searched for the newest whole checkpoint.
        requested: this checkpoint instead. A run that goes back to an older checkpoint, or to
            one of another folder, is another run: it gets an identity of its own.
        checkpoints: where the checkpoints of the work directory are, if not there.

    Raises:
        InputError: the requested one is missing, torn, or holds weights only; or the pointer of
            the work directory leads elsewhere and nothing else is there.
    """
    if requested is None:
        path, lines = newest_whole(work_dir, checkpoints)
        return _start_at(path, lines) if path else Start(lines=lines)
    if not os.path.isfile(requested):
        raise InputError(f'--resume {requested}: no such file')
    if not is_whole(requested):
        newest = _newest(os.path.dirname(os.path.abspath(requested)))
        hint = f'the newest whole one beside it is {newest}' if newest else 'no other is beside it'
        raise InputError(f'--resume {requested}: the file is torn; {hint}')
    start, newest = _start_at(requested, []), _newest(work_dir, checkpoints)
    if newest is None or not os.path.samefile(newest, requested):
        start.run_id = Start().run_id
    return start


def _newest(folder, checkpoints=None):
    try:
        return newest_whole(folder, checkpoints)[0]
    except InputError:  # a pointer that leads elsewhere
        return None


def _start_at(path, lines):
    outline = read_outline(path)
    if 'optimizer' not in outline or not isinstance(outline.get('meta'), dict):
        raise InputError(f'--resume {path}: it holds weights only, no state of a training; start '
                         'from it with load_from')
    check_seed(outline['meta'].get('seed'), path)
    start = Start(path, outline['meta'].get('seed'), lines=lines)
    start.run_id = run_of(outline) or start.run_id
    return start


def restore_progress(runner: Runner, checkpoint: dict[str, Any],
                     filename: str) -> dict[str, Any] | None:
    """Set the train loop to the place of a checkpoint, and say how exact that is.

    Returns:
        dict | None: the random state of this process, to be set when the loop starts.

    Raises:
        InputError: refused, see the table above.
    """
    loop, meta = runner.train_loop, checkpoint['meta']
    own = checkpoint.get('convnext_dense')
    check_counts(meta, ('epoch', 'iter'), filename)
    loop._epoch, loop._iter = meta['epoch'], meta['iter']
    if not hasattr(loop, 'start_from'):
        print_log(f'{type(loop).__name__} cannot start in the middle of an epoch', 'current',
                  logging.WARNING)
        return own and own['random'][0]
    kind = loop.progress()['kind']
    if own is None or not own.get('progress'):
        loop.start_from(_guess(loop, kind))
        print_log(f'{filename} was not written by this toolkit: the resumed run is approximate, '
                  'with a new random state', 'current', logging.WARNING)
        return None
    progress, was, now = dict(own['progress']), own['run'], describe_run(runner)
    check_counts(progress, ('epoch', 'batch'), filename)
    check_counts(own, ('skipped', ), filename)
    check_counts(dict(was, batch_size=was['batch_size'] or 1), (
        'world_size', 'batch_size', 'samples'), filename)
    check_kinds(dict(validation_due=True, kind=''), progress, 'its progress', filename)
    if progress['kind'] != kind:
        raise InputError(f'{filename} is of a run by {progress["kind"]}, the config trains by '
                         f'{kind}; resume with the config that wrote it')
    reasons = _adapt(loop, progress, was, now)
    unit = 'epochs' if kind == 'epoch' else 'iterations'
    done = progress['epoch'] if kind == 'epoch' else meta['iter']
    length = 'max_epochs' if kind == 'epoch' else 'max_iters'
    if now[length] < done:
        raise InputError(f'{filename} has done {done} {unit}, the config wants {now[length]}; '
                         f'raise train_cfg.{length}')
    if now[length] != was[length]:
        reasons.append(f'{was[length]} {unit} became {now[length]}; the learning rate follows '
                       'the schedule of the checkpoint')
    check_place(progress, meta['iter'], filename)
    reasons += _changed_settings(runner, own.get('fingerprint'))
    if kind == 'epoch':
        loop._epoch = progress['epoch']
    loop.start_from(progress)
    runner.non_finite_guard.skipped = own['skipped']
    if reasons:
        print_log('the resumed run is approximate: ' + '; '.join(reasons), 'current',
                  logging.WARNING)
    else:
        print_log('the resumed run is exact' + but_for_the_gpu(
            device_of(runner.model), runner.deterministic), 'current')
    rank = get_dist_info()[0]
    if rank < len(own['random']):
        unwrap(runner.model).load_state_dict(own['random'][rank].get('statistics', {}),
                                             strict=False)
        return own['random'][rank]
    with seeded(0):
        seed_all(runner.seed, rank, meta['iter'])
        return random_state()


def but_for_the_gpu(device: torch.device, deterministic: bool) -> str:
    """What is left open where a GPU adds the gradients of some layers in any order."""
    if device.type != 'cuda' or deterministic:
        return ''
    return (' but for the order in which the GPU adds the gradients of RoIAlign and of bilinear '
            'resizing; randomness.deterministic=True fixes it, too')


def _changed_settings(runner, kept):
    if not isinstance(kept, dict):
        return ['the checkpoint, of an earlier version, does not say with which settings it was '
                'written']
    return differences(kept, runner.fingerprint())


def _guess(loop, kind):
    if kind == 'epoch':
        return dict(kind=kind, epoch=loop._epoch, batch=0, validation_due=False)
    sampler = getattr(loop.dataloader.batch_sampler, 'sampler', None)
    if isinstance(getattr(sampler, 'sampler', sampler), InfiniteSampler):
        return dict(kind=kind, epoch=0, batch=loop._iter, validation_due=True)
    epoch, batch = divmod(loop._iter, len(loop.dataloader))
    return dict(kind=kind, epoch=epoch, batch=batch, validation_due=True)


def _adapt(loop, progress, was, now):
    """Move ``progress`` to another batch size or number of processes; returns the reasons."""
    reasons = []
    totals = [run['world_size'] * (run['batch_size'] or 1) for run in (was, now)]
    if totals[0] != totals[1]:
        progress['batch'] = progress['batch'] * totals[0] // totals[1]
        reasons.append(f'the batch of all processes was {totals[0]} and is {totals[1]}')
        if progress['kind'] == 'epoch':
            loop._iter = progress['epoch'] * len(loop.dataloader) + progress['batch']
    elif was['world_size'] != now['world_size']:
        reasons.append(f'{was["world_size"]} processes became {now["world_size"]}: other rounding '
                       'and dropped paths')
    if was['samples'] != now['samples']:
        reasons.append(f'the data set had {was["samples"]} images and has {now["samples"]}')
    return reasons
