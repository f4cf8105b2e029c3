"""Kills at random moments: half of them while checkpoints are written, half in training.

The drivers are those of the tests. After each kill of the writer the newest finished checkpoint
must be found; each killed training goes on, and must end bit-identical to one that was not killed.
"""
import json
import math
import os
import subprocess
import sys
from pathlib import Path

from benchmarks import forks

KILLS_A_RUN = 4
ATTEMPTS = 20


def drive(driver: str, *arguments: str) -> dict:
    """What a driver of tests/runtime prints."""
    tests = forks.REPOSITORY / 'tests'
    ran = subprocess.run(
        [sys.executable, str(tests / 'runtime' / driver), *arguments], stdout=subprocess.PIPE,
        check=True, text=True, env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join(
            map(str, (forks.REPOSITORY, tests / 'runtime', tests)))))
    return json.loads(ran.stdout.splitlines()[-1])


def measure(folder: Path, count: int = 200, seed: int = 0) -> int:
    """Kill ``count`` processes; returns the number of faults."""
    (folder / 'writing').mkdir()
    written = drive('writing.py', str(folder / 'writing'), '--kills', str(count // 2),
                    '--seed', str(seed))
    kills, different, at = 0, [], []
    for kind in ('toy', 'toy-iter'):
        left, attempt = count // 4, 0
        while left > 0 and attempt < ATTEMPTS:  # a run may end before its later kills
            trained = drive('killing.py', kind, str(folder / f'{kind}_{attempt}'),
                            '--runs', str(math.ceil(left / KILLS_A_RUN)), '--kills',
                            str(min(KILLS_A_RUN, left)), '--seed', str(seed + attempt), '--quiet')
            left, attempt = left - trained['kills'], attempt + 1
            kills += trained['kills']
            different += [f'{kind} {attempt} {run}' for run in trained['different']]
            at += trained['resumed_at']
    return forks.report(f'{count // 2} kills in writing, {kills} in training', dict(
        half_written=written['partial'], resumed_at=at), [
            *(f'after a kill in writing: {one}' for one in written['amiss']),
            *(f'run {run} did not end bit-identical' for run in different)])
