"""Driver of the kill tests, run as a program: trains runs in forked children and kills them.

Everything is imported once; a run is a fork, so that a start costs little. Prints one JSON line.
"""
import argparse
import gc
import json
import os
import random
import shutil
import signal
import sys
import time

import torch
from tiny import detector_config, segmenter_config, toy_config
from torch.distributed.elastic.utils.distributed import get_free_port

from convnext_dense.runtime import Runner
from convnext_dense.runtime.newest_checkpoint import newest_whole

CONFIGS = dict(detector=detector_config, segmenter=segmenter_config)


def config(args, work_dir, **settings):
    if args.kind.startswith('toy'):
        made = toy_config(work_dir, by_epoch=args.kind == 'toy', workers=1, length=16, **settings)
    else:
        if args.kind == 'detector':  # as many steps with two processes
            settings['epochs'] = 2 * args.processes
        made = CONFIGS[args.kind](args.data, work_dir, **settings)
    made.default_hooks.checkpoint.asynchronous = args.asynchronous
    return made


def start(args, work_dir, **settings):
    """Fork a child that trains, in a process group of its own; returns its id."""
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)
    if args.processes == 1:
        train(args, work_dir, **settings)
    port = get_free_port()
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port),
                      WORLD_SIZE=str(args.processes))
    for rank in range(args.processes):
        if not os.fork():
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
            strategy = dict(parallel=dict(type='fsdp')) if args.fsdp else dict(
                find_unused_parameters=True)
            train(args, work_dir, launcher='pytorch', **strategy, **settings)
    for _ in range(args.processes):
        code = os.waitstatus_to_exitcode(os.wait()[1])
        if code:  # as torchrun does: one is dead, end all
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.killpg(0, signal.SIGTERM)
            time.sleep(.5)
            os.killpg(0, signal.SIGKILL)
    os._exit(0)


def train(args, work_dir, **settings):
    status = 1
    try:
        if args.quiet:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
        Runner.from_cfg(config(args, work_dir, resume=True, **settings)).train()
        status = 0
    except SystemExit as end:
        status = end.code
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        os._exit(status)


def finish(child):
    status = os.waitpid(child, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    if code:
        sys.exit(f'a run ended with status {code}')


def pointer_time(work_dir):
    """When the pointer to the last checkpoint moved, or None."""
    try:
        return os.stat(os.path.join(work_dir, 'last_checkpoint')).st_mtime_ns
    except OSError:
        return None


def kill(child, work_dir, delay):
    """Kill a child and its data workers a while after its first own checkpoint.

    Returns:
        bool: False where it was done before.
    """
    before, end = pointer_time(work_dir), None
    while end is None or time.monotonic() < end:
        if end is None and pointer_time(work_dir) != before:
            end = time.monotonic() + delay
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(.002)
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def final_state(work_dir):
    path, _ = newest_whole(work_dir)
    checkpoint = torch.load(path, weights_only=False)
    return {key: checkpoint.get(key) for key in (
        'state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')} | dict(
            iter=checkpoint['meta']['iter'])


def same(one, other):
    """Whether nested values are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('kind', choices=['toy', 'toy-iter', *CONFIGS])
    parser.add_argument('work_dir')
    parser.add_argument('--data')
    parser.add_argument('--runs', type=int, default=1)
    parser.add_argument('--kills', type=int, default=2, help='of each run, at most')
    parser.add_argument('--processes', type=int, default=1)
    parser.add_argument('--asynchronous', action='store_true', help='write in a thread')
    parser.add_argument('--fsdp', action='store_true', help='share the parameters out')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--quiet', action='store_true')
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(args.seed)
    if not args.kind.startswith('toy'):
        import mmdet.models  # noqa: F401 the children inherit it
        import mmseg.models  # noqa: F401
    gc.freeze()  # or each collection of a child walks through, and copies, all that it inherited
    reference = os.path.join(args.work_dir, 'uninterrupted')
    child = start(args, reference)
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while pointer_time(reference) is None and not os.waitid(os.P_PID, child, ended):
        time.sleep(.002)
    begin = time.monotonic()
    finish(child)
    duration = time.monotonic() - begin  # of training behind the first checkpoint
    expected = final_state(reference)
    kills, resumed_at, different = 0, [], []
    for run in range(args.runs):
        work_dir = os.path.join(args.work_dir, f'run_{run}')
        for number in range(args.kills):
            delay = rng.uniform(0, duration)
            killed = kill(start(args, work_dir), work_dir, delay)
            while not killed and number == 0:  # it was faster than the uninterrupted one
                shutil.rmtree(work_dir)
                delay /= 2
                killed = kill(start(args, work_dir), work_dir, delay)
            if not killed:
                break
            kills += 1
            path = newest_whole(work_dir)[0]
            resumed_at.append(path and int(path.rsplit('_', 1)[1][:-4]))
        finish(start(args, work_dir))
        if not same(final_state(work_dir), expected):
            different.append(run)
        shutil.rmtree(work_dir)
    print(json.dumps(dict(kills=kills, resumed_at=resumed_at, different=different,
                          iterations=expected['iter'], duration=duration)))


if __name__ == '__main__':
    main()
