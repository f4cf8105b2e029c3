"""Several processes of one run: that they meet, have one config, and all have work to do.

Each check ends in the same error of one line in every process, where otherwise all of them would
wait for one.
"""
from __future__ import annotations

import hashlib
import os
import pprint
import re
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch
from mmengine.dist import all_gather_object

from convnext_dense.errors import InputError
from convnext_dense.runtime.start_line import NOT_HASHED, data_roots

MEETING_SECONDS = 50  # how long a process looks for the first one
FIRST_WAITS_SECONDS = 60  # how long the first one waits for the others to come


def check_launcher(launcher: str, cuda: bool) -> None:
    """Raise InputError for a launcher that only knows processes with a GPU each."""
    if launcher in ('slurm', 'mpi') and not cuda:
        raise InputError(f'--launcher {launcher} gives each process a GPU, by NCCL, but torch '
                         'finds none here; ask for GPUs, or start torchrun with --launcher '
                         'pytorch, which works on CPUs, by gloo')


def wait_for_first(environment: Mapping[str, str] = os.environ,
                   seconds: float = MEETING_SECONDS) -> None:
    """Wait until the process that all others meet at can be reached.

    Args:
        environment: with ``RANK``, ``MASTER_ADDR`` and ``MASTER_PORT``, as launchers set them.
        seconds: of waiting.

    Raises:
        InputError: it cannot be reached.
    """
    address, port = environment.get('MASTER_ADDR'), environment.get('MASTER_PORT', '')
    if not address or not port.isdigit() or environment.get('RANK', '0') == '0':
        return  # the first one is the place itself; what is missing torch names
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((address, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise InputError(
                    f'process {environment["RANK"]} on {socket.gethostname()} cannot reach the '
                    f'first one at {address}:{port} ({error}); MASTER_ADDR and MASTER_PORT must '
                    'lead to the machine of rank 0, and its port must be open') from error
            time.sleep(.5)


def waiting_time(env_cfg: Mapping[str, Any]) -> timedelta | None:
    """How long a process waits for the others: ``env_cfg.dist_cfg.timeout``; None: as torch does.

    Raises:
        InputError: it is no number of seconds.
    """
    seconds = (env_cfg.get('dist_cfg') or {}).get('timeout')
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        raise InputError(f'env_cfg.dist_cfg.timeout={seconds!r}; give a number of seconds above 0')
    return timedelta(seconds=seconds)


def meet_on_cpus(timeout: timedelta | None) -> None:
    """Start gloo's process group, for which the first process does not wait longer than a minute.

    Args:
        timeout: of all waiting for one another afterwards, and of this where it is shorter; None:
            torch's.
    """
    meeting = timedelta(seconds=FIRST_WAITS_SECONDS)
    meeting = meeting if timeout is None else min(meeting, timeout)
    store, rank, count = next(torch.distributed.rendezvous('env://', timeout=meeting))
    torch.distributed.init_process_group('gloo', store=store, rank=rank, world_size=count,
                                         timeout=timeout)


def config_hashes(cfg: Mapping[str, Any]) -> dict[str, str]:
    """A hash of each key at the top of a config, the same wherever the data lie."""
    roots = sorted(data_roots(cfg), key=len, reverse=True)  # type: ignore[arg-type]

    def hashed(value):
        text = re.sub(' at 0x[0-9a-f]+', '', pprint.pformat(value))  # of functions
        for root in roots:
            text = text.replace(root, '')
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    plain = cfg.to_dict() if hasattr(cfg, 'to_dict') else dict(cfg)
    return {key: hashed(value) for key, value in plain.items() if key not in NOT_HASHED}


def check_same_config(cfg: Mapping[str, Any]) -> None:
    """Raise InputError, in all processes, where their configs differ; all must call it."""
    found = all_gather_object((socket.gethostname(), config_hashes(cfg)))
    raise_difference(found)


def raise_difference(found: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Raise InputError for the first process whose config is not the first one's.

    Args:
        found: host and hashes of each process.
    """
    host, first = found[0]
    for rank, (other_host, hashes) in enumerate(found):
        keys = [key for key in sorted(first.keys() | hashes.keys())
                if first.get(key) != hashes.get(key)]
        if keys:
            raise InputError(f'the config of process {rank} on {other_host} differs from that of '
                             f'process 0 on {host} in {", ".join(keys[:4])}; start all machines '
                             'with the same file, options and version')


def check_shares(name: str, steps: int | None, together: bool) -> None:
    """Raise InputError, in all processes, where one has no batch, or others than the rest.

    Args:
        name: of the data loader in the config.
        steps: batches of this process, None where nobody knows.
        together: whether all processes must do each step.
    """
    raise_uneven(name, all_gather_object(steps), together)


def raise_uneven(name: str, steps: Sequence[int | None], together: bool) -> None:
    """See :func:`check_shares`; ``steps`` are of all processes."""
    known = [count for count in steps if count is not None]
    if not together or len(known) < len(steps) or len(set(known)) <= 1:
        return
    fewest = known.index(min(known))
    raise InputError(f'{name} gives process {fewest} {known[fewest]} batches and process '
                     f'{known.index(max(known))} {max(known)}, but every step is one of all '
                     "processes; use a sampler that shares evenly, such as dict(type='"
                     "DefaultSampler')")
