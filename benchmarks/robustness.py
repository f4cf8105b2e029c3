"""What robustness costs, and what it holds against: ``python -m benchmarks.robustness [PART ...]``.

The attacks ``states``, ``configs``, ``signals``, ``kills``, ``downloads``, ``doors`` and ``serve``
print counts and every fault, and the exit status is 1 where there is one; each is described in its
module. The costs:

``checkpoint`` writes the same state in turns with mmengine's runner, which leaves the file to the
system's memory; with mmengine's and a wait for the disk; with ours, which waits for the disk; and
with ours in a thread, where training waits for a copy only. ``guards`` and ``deterministic`` time
training steps of the two demo configs, in turns without and with; the parts of the guards are
timed too, for their cost is smaller than the spread of a step. Every figure is the median
(least-greatest), every ratio is taken round by round in this one run.
"""
import argparse
import os
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from statistics import median

import torch
from mmengine.config import Config
from mmengine.runner import Runner as MMEngineRunner

from convnext_dense.checks.image_files import look_at_file, oddities
from convnext_dense.config import set_data_root, set_device
from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.runtime import CheckpointHook, Runner

COSTS = ('checkpoint', 'guards', 'deterministic')
ATTACKS = ('states', 'configs', 'signals', 'kills', 'downloads', 'doors', 'serve')
CONFIGS = dict(detector='configs/demo/cascade-mask-rcnn_convnext_shapes.py',
               segmenter='configs/demo/upernet_convnext_shapes.py')


def spread(values, unit, scale=1.):
    return (f'{median(values) * scale:.3g} {unit} '
            f'({min(values) * scale:.3g}-{max(values) * scale:.3g})')


def ratio(ours, theirs):
    return spread([one / other for one, other in zip(ours, theirs, strict=True)], 'x')


def timed(call, *args):
    begin = time.perf_counter()
    call(*args)
    return time.perf_counter() - begin


def start(kind, folder, arch=None):
    """A runner that is ready to train, and its endless batches."""
    root = folder / 'shapes'
    if not root.exists():
        write_shapes(root, train=64, val=2, size=256)
    config = Config.fromfile(CONFIGS[kind])
    if arch:
        config.model.backbone = dict(type='convnext_dense.ConvNeXt', arch=arch)
        config.model.decode_head.in_channels = [96, 192, 384, 768]
        config.model.auxiliary_head.in_channels = 384
    set_data_root(config, root)
    set_device(config, 'cpu')
    config.work_dir, config.log_level = str(folder / kind), 'ERROR'
    config.experiment_name = f'{kind}_{arch}'
    for key in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        config[key] = None
    config.train_dataloader.update(num_workers=0, persistent_workers=False)
    runner = Runner.from_cfg(config)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner.model.train()
    return runner


def measure_checkpoint(folder, rounds):
    """The same state written by mmengine's runner and by ours, a ConvNeXt-T segmenter's."""
    runner = start('segmenter', folder, arch='tiny')
    step(runner, next(runner.train_loop.dataloader_iterator))
    path = str(folder / 'a.pth')
    aside = CheckpointHook(asynchronous=True)

    def theirs():
        MMEngineRunner.save_checkpoint(runner, str(folder), 'a.pth')

    def theirs_synced():
        theirs()
        with open(path, 'rb') as file:
            os.fsync(file.fileno())

    sides = {'mmengine': theirs, 'mmengine and synced': theirs_synced,
             'ours': lambda: runner.save_checkpoint(str(folder), 'a.pth'),
             'ours in a thread': lambda: aside._write(runner, path, [], by_epoch=False)}
    seconds = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name in list(sides)[::1 if number % 2 else -1]:
            os.sync()  # nobody waits for what another one left
            spent = timed(sides[name])
            aside.wait()
            if number:  # the first round warms up
                seconds[name].append(spent)
    size = os.path.getsize(path) / 1e6
    print(f'checkpoint of {size:.0f} MB, {rounds} rounds:')
    for name, values in seconds.items():
        print(f'  {name}: {spread(values, "s")}, to mmengine '
              f'{ratio(values, seconds["mmengine"])}, to mmengine and synced '
              f'{ratio(values, seconds["mmengine and synced"])}')


def step(runner, batch):
    """A training step without guards."""
    hooks = runner.optim_wrapper.optimizer._optimizer_step_pre_hooks
    kept = dict(hooks)
    hooks.clear()
    runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)
    hooks.update(kept)


def guarded_step(runner, batch):
    runner.non_finite_guard.train_step(runner.model, batch, runner.optim_wrapper)
    runner.after_step()


class Clock:
    """Times the calls of some methods of an object."""

    def __init__(self):
        self.seconds = 0.

    def watch(self, owner, name):
        method = getattr(owner, name)

        def call(*args, **kwargs):
            begin = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - begin
        setattr(owner, name, call)


def look(bad_images, info):
    """What the guarded pipeline does once for each image, beyond loading it."""
    for key in ('img_path', 'seg_map_path'):
        if key in info:
            look_at_file(info[key], bad_images.max_pixels)
    oddities(info['img_path'])


def measure_guards(kind, folder, rounds):
    """Training steps without and with guards, in turns on the same batches."""
    runner = start(kind, folder)
    clock = Clock()
    guard = runner.non_finite_guard
    for owner, name in ((guard, '_remember'), (guard, '_before_update'), (runner, 'after_step')):
        clock.watch(owner, name)
    loader = runner.train_dataloader
    bad_images = runner.bad_images.lists['bad_images.jsonl']
    looks = [timed(look, bad_images, loader.dataset.get_data_info(index))
             for index in range(len(loader.dataset))]
    plain, guarded, parts = [], [], []
    for number in range(rounds + 2):
        batch = next(runner.train_loop.dataloader_iterator)
        clock.seconds = 0.
        sides = [(step, plain), (guarded_step, guarded)]
        for side, seconds in sides[::1 if number % 2 else -1]:
            seconds.append(timed(side, runner, batch))
        parts.append(clock.seconds / plain[-1])
    for values in (plain, guarded, parts):
        del values[:2]  # the first steps warm up
    print(f'{kind}, {rounds} steps of {loader.batch_size} images: without guards '
          f'{spread(plain, "s")}, with {spread(guarded, "s")}, ratio {ratio(guarded, plain)}')
    print(f'  the guards\' own time is {spread(parts, "%", 100)} of a step; besides, data workers '
          f'look once at each image: {spread(looks, "ms", 1e3)}')


def measure_deterministic(kind, folder, rounds):
    """Training steps without and with deterministic algorithms, in turns."""
    runner = start(kind, folder)
    times = {False: [], True: []}
    for number in range(rounds + 2):
        batch = next(runner.train_loop.dataloader_iterator)
        for on in ((False, True), (True, False))[number % 2]:
            torch.use_deterministic_algorithms(on)
            times[on].append(timed(guarded_step, runner, batch))
    for values in times.values():
        del values[:2]
    torch.use_deterministic_algorithms(False)
    print(f'{kind}, {rounds} steps: ordinary {spread(times[False], "s")}, deterministic '
          f'{spread(times[True], "s")}, ratio {ratio(times[True], times[False])}')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('what', nargs='*', choices=[*COSTS, *ATTACKS], default=COSTS,
                        metavar='PART', help=f'{", ".join([*COSTS, *ATTACKS])} (default: the '
                        'costs)')
    parser.add_argument('--kinds', nargs='+', choices=CONFIGS, default=list(CONFIGS),
                        help='demo configs whose steps are timed (default: both)')
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--dir', help='a folder of the disk that checkpoints will be written to')
    parser.add_argument('--count', type=int, help='of an attack (default: that of the docs)')
    parser.add_argument('--seed', type=int, default=0, help='of an attack')
    args = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        folder = Path(folder)
        for what in args.what:
            if what in ATTACKS:
                settings = dict(count=args.count) if args.count else {}
                (folder / what).mkdir()
                begin = time.perf_counter()
                faults += import_module(f'benchmarks.robustness_{what}').measure(
                    folder / what, seed=args.seed, **settings)
                print(f'  {time.perf_counter() - begin:.0f} s')
                continue
            if what == 'checkpoint':
                measure_checkpoint(folder, args.rounds)
                continue
            measure = dict(guards=measure_guards, deterministic=measure_deterministic)[what]
            for kind in args.kinds:
                measure(kind, folder, args.rounds)
    return int(faults > 0)


if __name__ == '__main__':
    sys.exit(main())
