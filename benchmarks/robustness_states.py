"""Malformed states of training, resumed: each ends in one line, or in a run that is whole.

A state that the toolkit wrote is changed in one place: an entry is removed, renamed, put into a
list, or replaced by a value of another kind. The file is a good file otherwise, its checksums
included; what is changed is drawn from a seed.
"""
import copy
import random
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import forks

OTHER = [
    None, True, False, 0, 7, -1, 2**31, 10**18, 10**30, -10**30, .5, float('nan'), float('inf'),
    -float('inf'), '', 'text', 'a\nb\x1b[31m', '../../x', b'bytes', [], {}, (), [[]], [None],
    {'a': 1}, {1: 2}, {(1, 2): 3}, [1, 2, 3], torch.ones(2), torch.tensor(float('nan')),
    torch.ones(0), torch.ones(2, dtype=torch.int64), [[[[[[]]]]]]]


def places(node: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every entry inside nested dicts, lists and tuples."""
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(
        node, (list, tuple)) else ()
    for key, child in entries:
        yield (*path, key)
        yield from places(child, (*path, key))


def change(state: dict, rng: random.Random) -> tuple[dict, str]:
    """A copy of a state with one change, and what was changed."""
    state = copy.deepcopy(state)
    found = list(places(state))
    # as often in each part of the file: the optimizer has most of the entries
    part = rng.choice(sorted({path[0] for path in found}))
    path = rng.choice([path for path in found if path[0] == part])
    owner = state
    for key in path[:-1]:
        owner = owner[key]
    if isinstance(owner, tuple):  # only its owner can change it
        path = path[:-1]
        owner = state
        for key in path[:-1]:
            owner = owner[key]
    key, kind = path[-1], rng.choice(['remove', 'rename', 'list', 'replace', 'replace', 'replace'])
    if kind == 'remove':
        del owner[key]
    elif kind == 'rename' and isinstance(owner, dict):
        owner[rng.choice([f'{key} ', 0, None, ('a', 1)])] = owner.pop(key)
    elif kind == 'list':
        owner[key] = [owner[key]]
    else:
        kind = 'replace'
        owner[key] = copy.deepcopy(rng.choice(OTHER))
        kind += f' by {owner[key]!r:.40}'
    return state, f'{"/".join(map(str, path))}: {kind}'


def config_of(work_dir: Path, by_epoch: bool, **settings: Any) -> Any:
    """A toy run with all that keeps a state: validation, averages, a best checkpoint, schedules."""
    from tiny import toy_config, with_validation
    config = with_validation(toy_config(
        work_dir, by_epoch=by_epoch, length=8, epochs=2, log_level='INFO',
        experiment_name=f'states_{time.time_ns()}', **settings), 1 if by_epoch else 3)
    config.default_hooks.checkpoint.update(interval=2, save_best='score', rule='greater')
    config.default_hooks.logger = dict(type='LoggerHook', interval=1)
    config.default_hooks.scheduler = dict(type='ParamSchedulerHook')
    config.custom_hooks = [dict(type='EMAHook', momentum=.1)]
    return config


def train(config: Any) -> None:
    """Build and train, as the command does."""
    from convnext_dense.commands.options import build_runner
    build_runner(config).train()


def measure(folder: Path, count: int = 100, seed: int = 0) -> int:
    """Resume ``count`` malformed states; returns the number of faults."""
    forks.use_tests()
    import tiny  # noqa: F401 the children inherit it

    from convnext_dense.runtime.files import write_checkpoint
    torch.set_num_threads(1)
    rng = random.Random(seed)
    states = {}
    for by_epoch in (True, False):
        work_dir = folder / f'whole_{by_epoch}'
        outcome = forks.run(partial(train, config_of(work_dir, by_epoch)), folder / 'printed')
        if outcome.status != forks.DONE:
            raise RuntimeError(outcome.text)
        states[by_epoch] = torch.load(work_dir / 'iter_4.pth', weights_only=False)
    outcomes: Counter = Counter()
    faults = []
    for number in range(count):
        by_epoch = bool(number % 2)
        state, changed = change(states[by_epoch], rng)
        path, work_dir = folder / f'state_{number}.pth', folder / f'run_{number}'
        write_checkpoint(state, path)
        sibling = number % 10 == 0  # beside a good one, to be passed over or taken
        config = config_of(work_dir, by_epoch, resume=True,
                           load_from=None if sibling else str(path))
        if sibling:
            work_dir.mkdir()
            write_checkpoint(state, work_dir / 'iter_4.pth')
            write_checkpoint(states[by_epoch], work_dir / 'iter_2.pth')
        outcome = forks.run(partial(train, config), folder / 'printed')
        kind = {forks.DONE: 'ran', forks.REFUSED: 'refused', None: 'hung'}.get(
            outcome.status, 'failed')
        outcomes[kind] += 1
        if kind in ('hung', 'failed'):
            faults.append(f'{number} {changed}: {kind}: {outcome.text.strip()[-2000:]}')
        elif 'Traceback' in outcome.text:
            faults.append(f'{number} {changed}: a traceback')
    return forks.report(f'{count} malformed states', outcomes, faults)
