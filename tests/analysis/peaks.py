"""The memory of a training process at its peak: ``peaks.py CONFIG WORK_DIR PROCESSES``.

The processes are forks; each prints the bytes between its state without a model and its peak in the
second and third step. Weights that start a run are larger than in a step, and are left out.
"""
import gc
import json
import os
import socket
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from convnext_dense.runtime import Runner


def held(key):
    """A line of /proc/self/status in bytes."""
    return next(int(line.split()[1]) * 1024 for line in open('/proc/self/status')
                if line.startswith(key))


class Peak(Hook):
    """Measures the steps after the first, which makes the optimizer's state."""

    peak = 0

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 1:
            gc.collect()
            with open('/proc/self/clear_refs', 'w') as file:
                file.write('5')  # the high-water mark is what is held now

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.peak = held('VmHWM')


def main(config, work_dir, processes):
    torch.set_num_threads(1)
    import mmseg.models  # noqa: F401
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE=str(processes))
    children = []
    for rank in range(processes):
        child = os.fork()
        if not child:
            status = 1
            try:
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
                before, hook = held('VmRSS'), Peak()
                cfg = Config.fromfile(config)
                cfg.work_dir, cfg.launcher = work_dir, 'pytorch'
                runner = Runner.from_cfg(cfg)
                runner.register_hook(hook)
                runner.train()
                Path(work_dir, f'peak{rank}.json').write_text(json.dumps(hook.peak - before))
                status = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(statuses):
        sys.exit(f'the processes ended with {statuses}')
    print(json.dumps([json.loads(Path(work_dir, f'peak{rank}.json').read_text())
                      for rank in range(processes)]))


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
