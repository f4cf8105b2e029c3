"""Driver of the kill tests of writing: a child writes checkpoints in a loop and is killed.

Prints one JSON line: what was found after each kill.
"""
import argparse
import json
import os
import random
import signal
import sys
import time

import torch

from convnext_dense.runtime import files
from convnext_dense.runtime.newest_checkpoint import newest_whole


def checkpoint(number, tensors):
    return dict(meta=dict(iter=number, epoch=0), optimizer={}, state_dict=tensors,
                convnext_dense=dict(written=float(number)))


def write_forever(folder, first, pipe):
    """Write checkpoints; report each number once its file and the pointer are there."""
    tensors = {str(index): torch.full((60_000, ), float(first)) for index in range(20)}  # 5 MB
    number = first
    while True:
        for tensor in tensors.values():
            tensor.fill_(number)
        path = os.path.join(folder, f'iter_{number}.pth')
        files.write_checkpoint(checkpoint(number, tensors), path)
        os.write(pipe, b'%d\n' % number)
        files.move_pointer(folder, path)
        old = os.path.join(folder, f'iter_{number - 2}.pth')
        if os.path.exists(old):
            os.remove(old)
        number += 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('folder')
    parser.add_argument('--kills', type=int, default=10)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(args.seed)
    first, amiss, partial = 1, [], 0
    for _ in range(args.kills):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                write_forever(args.folder, first, writer)
            finally:
                os._exit(1)
        os.close(writer)
        with os.fdopen(reader) as reports:
            lines = [reports.readline()]  # the first is there
            time.sleep(rng.uniform(0, .06))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            lines += reports.readlines()
        finished = int(lines[-1])
        partial += bool(files.remove_partial(args.folder))
        path, torn = newest_whole(args.folder)
        found = torch.load(path)
        number = found['meta']['iter']
        # one more can be there: killed between the renaming and the report
        if number not in (finished, finished + 1) or torn or any(
                (tensor != number).any() for tensor in found['state_dict'].values()):
            amiss.append([finished, number, torn])
        first = number + 1
    json.dump(dict(amiss=amiss, partial=partial, last=first - 1), sys.stdout)


if __name__ == '__main__':
    main()
