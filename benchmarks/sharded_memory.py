"""Peak memory of each process beside what ``convnext-dense plan`` says.

``python -m benchmarks.sharded_memory`` trains a reduced ConvNeXt V2-Huge in UperNet for three
steps, whole (one process), with DDP and with FSDP2, in 2 and 4 processes on this machine's CPU over
gloo. A peak is the most resident memory of a process during the last steps, above what it held
before the model was built; the process with the most counts. What the same training of a tiny
model takes more than planned (libraries, data, the log) is taken off. glibc is told to give freed
memory back at once: else it keeps what groups of blocks held for a moment.
"""
import argparse
import gc
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from torch.distributed.elastic.utils.distributed import get_free_port

from benchmarks import forks, measuring
from convnext_dense.config_files import FOLDER

ARCH = dict(depths=(2, 2, 12, 2), channels=(128, 256, 512, 1024))  # 45 million parameters
TINY = dict(ARCH, channels=(8, 16, 32, 64))
GLIBC = dict(MALLOC_MMAP_THRESHOLD_='131072', MALLOC_TRIM_THRESHOLD_='131072')
SIZE, BATCH, STEPS = 64, 2, 3
MIB = 2**20


class Peak(NamedTuple):
    """Of a strategy: MiB that the plan says, and that were measured in the largest process."""
    name: str
    processes: int
    planned: float
    measured: float

    @property
    def ratio(self) -> float:
        return self.planned / self.measured


class Watch(Hook):
    """Writes the memory of the steps after the first, in which the optimizer makes its state."""

    def __init__(self, before: float, out: Path) -> None:
        self.before, self.out = before, out

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: Any = None) -> None:
        if batch_idx == 0:
            gc.collect()
            measuring.return_freed_memory()
            measuring.reset_peak()
        elif batch_idx == STEPS - 1:
            self.out.write_text(json.dumps(measuring.resident('VmHWM') - self.before))


def config(arch: dict, data: str, work_dir: Path, parallel: dict | None) -> Config:
    """The demo's segmenter with another backbone, trained for a few steps and nothing else."""
    from convnext_dense.config import set_data_root, set_device
    made = Config.fromfile(FOLDER / 'demo/upernet_convnext_shapes.py')
    made.model.data_preprocessor.size = (SIZE, SIZE)
    made.model.backbone.update(arch=arch)
    made.model.decode_head.in_channels = list(arch['channels'])
    made.model.auxiliary_head.in_channels = arch['channels'][2]
    made.train_dataloader.update(batch_size=BATCH, num_workers=0, persistent_workers=False)
    made.train_cfg.update(max_iters=STEPS, val_interval=100 * STEPS)
    made.default_hooks = dict(checkpoint=dict(
        type='convnext_dense.CheckpointHook', by_epoch=False, interval=100 * STEPS,
        save_last=False))
    made.update(param_scheduler=[], acceleration=dict(forms=False), progress=False,
                log_level='ERROR', work_dir=str(work_dir), auto_scale_lr=None)
    for name in ('val', 'test'):
        for part in ('cfg', 'dataloader', 'evaluator'):
            made[f'{name}_{part}'] = None
    if parallel:
        made.update(parallel=parallel, launcher='pytorch')
        made.env_cfg.dist_cfg.backend = 'gloo'
    set_data_root(made, data)
    set_device(made, 'cpu')
    return made


def train(arch: dict, folder: Path, data: str, parallel: dict | None, rank: int, processes: int,
          port: int) -> None:
    """One process of a training."""
    from convnext_dense.runtime import Runner
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes),
                      MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.set_num_threads(1)
    made = config(arch, data, folder, parallel)
    gc.collect()
    measuring.return_freed_memory()
    before = measuring.resident('VmRSS')
    runner = Runner.from_cfg(made)
    runner.register_hook(Watch(before, folder / f'peak_{rank}.json'), 'LOWEST')
    runner.train()
    os._exit(0)  # gloo's threads may abort an ordinary exit


def measured(arch: dict, folder: Path, data: str, parallel: dict | None, processes: int) -> float:
    """MiB of the process with the most."""
    folder.mkdir(parents=True)
    port = get_free_port()
    printed = [folder / f'printed_{rank}.txt' for rank in range(processes)]
    children = [forks.start(partial(train, arch, folder, data, parallel, rank, processes, port),
                            path) for rank, path in enumerate(printed)]
    for child, path in zip(children, printed):
        outcome = forks.finish(child, path)
        if outcome.status != forks.DONE:
            raise RuntimeError(outcome.text[-3000:])
    return max(json.loads(path.read_text()) for path in folder.glob('peak_*.json'))


def planned(arch: dict, data: str, parallel: dict | None, processes: int) -> float:
    """MiB that the plan says."""
    from convnext_dense.analysis.plan import job_of
    from convnext_dense.analysis.scaling import memory
    from convnext_dense.parallel import DdpSettings, parallel_settings
    settings = parallel_settings(parallel) or DdpSettings()
    job = job_of(config(arch, data, Path('unused'), parallel), (SIZE, SIZE), BATCH)
    return memory(job, processes, settings).total / MIB


def peaks(folder: Path, worlds: Sequence[int] = (2, 4)) -> list[Peak]:
    """Of one process, and of each strategy in so many processes."""
    import mmseg.models  # noqa: F401 the children inherit it

    import convnext_dense.models  # noqa: F401
    from convnext_dense.datasets.shapes import write_shapes
    data = str(folder / 'shapes')
    write_shapes(data, train=16, val=2, size=SIZE)
    cases: list[tuple[str, int, dict | None]] = [('whole', 1, None)]
    for kind in ('ddp', 'fsdp'):
        cases += [(kind, processes, dict(type=kind)) for processes in worlds]
    found = []
    for name, processes, parallel in cases:
        sizes = [(planned(arch, data, parallel, processes), measured(
            arch, folder / f'{name}_{processes}_{number}', data, parallel, processes))
            for number, arch in enumerate((TINY, ARCH))]
        other = sizes[0][1] - sizes[0][0]
        found.append(Peak(name, processes, sizes[1][0], sizes[1][1] - other))
    return found


def table(found: Sequence[Peak]) -> str:
    """As Markdown."""
    return '\n'.join([
        '| strategy | processes | planned, MiB a process | measured | planned / measured |',
        '|---|---|---|---|---|',
        *(f'| {one.name} | {one.processes} | {one.planned:.0f} | {one.measured:.0f} '
          f'| {one.ratio:.2f} |' for one in found)])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.sharded_memory',
                                     description=__doc__.split('\n\n', 1)[1])
    parser.add_argument('--processes', type=int, nargs='+', default=[2, 4], metavar='N')
    args = parser.parse_args(arguments)
    if not GLIBC.items() <= os.environ.items():  # which reads them at its start
        os.execve(sys.executable, [sys.executable, '-m', 'benchmarks.sharded_memory', '--processes',
                                   *map(str, args.processes)], {**os.environ, **GLIBC})
    with tempfile.TemporaryDirectory() as folder:
        print(table(peaks(Path(folder), args.processes)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
