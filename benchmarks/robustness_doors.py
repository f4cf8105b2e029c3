"""Hostile files through every door of the command line: nothing runs, nothing outside is touched.

Each file goes to each command that would read it, in a forked child whose audit hook writes down
every file that is opened for writing, removed, renamed or linked, every program that is started
and every connection. What lies outside of the child's own folder, and a change of the canary tree
beside it, is a fault; so are a traceback, a signal, and an end without an answer of the toolkit.
"""
import hashlib
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks import forks
from benchmarks.hostile_configs import hostile_configs, hostile_exports
from benchmarks.hostile_files import (
    hostile_archives,
    hostile_files,
    hostile_images,
    hostile_work_dirs,
)
from convnext_dense.web import server

CONFIG = str(forks.REPOSITORY / 'configs' / 'demo' / 'upernet_convnext_shapes.py')
TINY = ['model.backbone.arch.depths=[1,1,1,1]', 'train_cfg.max_iters=2', 'train_cfg.val_interval=5',
        'default_hooks.checkpoint.interval=1', 'train_dataloader.batch_size=2',
        *(f'{name}_dataloader.{setting}' for name in ('train', 'val', 'test')
          for setting in ('num_workers=0', 'persistent_workers=False'))]
#: audited calls that change something, and which of their arguments are paths
CHANGES = {'os.remove': (0, ), 'os.rename': (0, 1), 'os.rmdir': (0, ), 'os.mkdir': (0, ),
           'os.link': (1, ), 'os.symlink': (1, ), 'os.truncate': (0, ), 'os.chmod': (0, ),
           'os.chown': (0, ), 'shutil.rmtree': (0, ), 'os.utime': (0, )}
#: those that act on a link itself, not on what it leads to
OF_LINKS = ('os.remove', 'os.rename', 'os.rmdir', 'os.link', 'os.symlink')
PROGRAMS = ('os.system', 'os.exec', 'os.posix_spawn', 'os.spawn', 'subprocess.Popen',
            'socket.connect', 'socket.sendto', 'pty.spawn')
#: programs that libraries start to describe the machine
HARMLESS = ('git', 'lscpu', 'gcc', 'cc', 'nvcc', 'nvidia-smi', 'uname', 'ldconfig', 'fc-list', 'ld',
            'file')


#: what the doors import, which takes 20 s: the children inherit it
INHERITED = ('mmdet.datasets', 'mmdet.models', 'mmseg.datasets', 'mmseg.models', 'mmcv.ops',
             'convnext_dense.analysis.comparison', 'convnext_dense.analysis.complexity',
             'convnext_dense.analysis.report', 'convnext_dense.export.exporting',
             'convnext_dense.planning.project', 'convnext_dense.runtime.runner',
             'convnext_dense.web.app', 'onnx', 'onnxruntime', 'onnxscript', 'openvino', 'plotly',
             'setuptools', 'torch._dynamo', 'torch.onnx')
#: what hostile names and classes hold: no terminal and no page may get it as it is
MARKS = ('\x1b[2J', '<script>x')


def audit(log: Path, own: Path) -> None:
    """Write down whatever this process does outside of its own folder."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    allowed = (os.path.realpath(own), '/dev/null', '/dev/shm', '/proc/self', '/dev/tty')

    def outside(path: Any, follow: bool = True) -> bool:
        if isinstance(path, int) or path is None:
            return False
        folder, name = os.path.split(os.fsdecode(path))
        real = os.path.realpath(os.fsdecode(path)) if follow else os.path.join(
            os.path.realpath(folder), name)
        return not any(real == one or real.startswith(one + '/') for one in allowed)

    def hook(event: str, arguments: tuple) -> None:
        told = None
        if event == 'open':
            path, mode, flags = arguments
            if (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) and outside(path):
                told = f'open {path!r} {mode!r}'
        elif event in CHANGES:
            paths = [arguments[place] for place in CHANGES[event] if place < len(arguments)]
            if any(outside(path, event not in OF_LINKS) for path in paths):
                told = f'{event} {paths!r}'
        elif event in PROGRAMS:
            program = arguments[0] if event != 'socket.connect' else arguments[1]
            command = arguments[1] if event == 'subprocess.Popen' else ()
            if list(command[:2]) == ['/bin/sh', '-c']:
                program = str(command[2]).split()[0]
            if os.path.basename(str(program)) not in HARMLESS:
                told = f'{event} {arguments!r:.200}'
        if told:
            os.write(descriptor, (told + '\n').encode(errors='replace'))
    sys.addaudithook(hook)


def train_options(own: Path, data: Path) -> tuple[list[str], list[str]]:
    """The options of train and test before and after what a door adds."""
    return (['--data-root', str(data), '--work-dir', str(own / 'work'), '--device', 'cpu'],
            ['--cfg-options', *TINY])


def doors_of_a_file(file: Path, own: Path, data: Path, image: Path) -> dict[str, list[str]]:
    """The command lines that read a checkpoint."""
    options, last = train_options(own, data)
    return {
        'train --resume': ['train', CONFIG, '--resume', str(file), *options, *last],
        'train --init-from': ['train', CONFIG, '--init-from', str(file), *options, *last],
        'train load_from': ['train', CONFIG, *options, *last, f'load_from={file}'],
        'test': ['test', CONFIG, str(file), *options, *last],
        'convert-checkpoint': ['convert-checkpoint', str(file), str(own / 'out.safetensors')],
        'inspect-checkpoint': ['inspect-checkpoint', str(file), '--keys'],
        'predict': ['predict', str(image), '--model', str(file), '--out', str(own / 'out'),
                    '--device', 'cpu'],
        'serve': ['serve', str(file), '--port', '0', '--device', 'cpu'],
        'export': ['export', str(file), '--out', str(own / 'out'), '--images', str(image)],
        'export --evaluate': ['export', str(file), '--out', str(own / 'out'), '--evaluate', '1']}


def doors_of_a_work_dir(folder: Path, own: Path, data: Path, image: Path) -> dict[str, list[str]]:
    """The command lines that read a work directory, of which ``own / 'work'`` is a copy."""
    work = str(own / 'work')
    options, last = train_options(own, data)
    return {
        'inspect-checkpoint': ['inspect-checkpoint', work + '/iter_2.pth'],
        'train --resume': ['train', CONFIG, '--resume', *options, *last,
                           'train_cfg.max_iters=3'],
        'predict': ['predict', str(image), '--model', work, '--out', str(own / 'out'),
                    '--device', 'cpu'],
        'serve': ['serve', work, '--port', '0', '--device', 'cpu'],
        'compare': ['compare', work, '--out', str(own / 'report'), '--no-static'],
        'export': ['export', work, '--out', str(own / 'out'), '--images', str(image)]}


def go_through(argv: list[str], own: Path, log: Path) -> None:
    """Run a command line in this child, watched."""
    from convnext_dense.cli import main
    os.chdir(own)
    for name in ('HOME', 'TMPDIR', 'XDG_CACHE_HOME', 'TORCH_HOME', 'MPLCONFIGDIR',
                 'TORCHINDUCTOR_CACHE_DIR'):
        os.environ[name] = str(own)
    tempfile.tempdir = str(own)
    # whether a model comes to be served; what is sent to it is benchmarks.robustness_serve's
    server.run_server = lambda *args: None
    audit(log, own)
    raise SystemExit(main(argv))


def digest(folder: Path) -> str:
    """Of all names and contents below a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob('*')):
        found.update(str(path).encode() + (path.read_bytes() if path.is_file() else b''))
    return found.hexdigest()


def verdict(outcome: forks.Outcome, log: Path, ran: Path) -> str | None:
    """What is wrong with how a door was left; None where nothing is."""
    if ran.exists():
        return 'CODE RAN'
    pages = [page.read_text() for page in log.with_suffix('').glob('report/*.*')
             if page.suffix in ('.html', '.md')]
    if MARKS[0] in outcome.text or any(mark in page for page in pages for mark in MARKS):
        return 'a control character, or a script, comes through'
    if log.exists() and log.read_text():
        return f'outside: {log.read_text()[:500]}'
    if outcome.status is None:
        return 'it did not end'
    if 'Traceback (most' in outcome.text or 'the traceback is in' in outcome.text or \
            any(line.startswith('usage: ') for line in outcome.text.splitlines()):
        return f'a traceback: {outcome.text.strip()[-1500:]}'
    errors = [line for line in outcome.text.splitlines() if line.startswith('error: ')]
    if outcome.status not in (0, 1, 2) or (outcome.status == 2) != (len(errors) == 1):
        return f'status {outcome.status} with {len(errors)} lines: {outcome.text.strip()[-800:]}'
    return None


def measure(folder: Path, count: int | None = None, seed: int = 0, seconds: float = 300.) -> int:
    """Everything hostile, or ``count`` of its checkpoints, through all doors.

    Returns:
        int: the number of faults.
    """
    for name in INHERITED:
        import_module(name)
    from convnext_dense.cli import COMMANDS
    from convnext_dense.datasets.shapes import write_shapes
    torch.set_num_threads(1)
    data, made, canaries = folder / 'data', folder / 'made', folder / 'canaries'
    write_shapes(data, train=4, val=3, size=96)
    made.mkdir()
    canaries.mkdir()
    for number in range(3):
        (canaries / f'canary_{number}.pth').write_text(f'canary {number}')
    canary, ran = canaries / 'canary_0.pth', folder / 'ran'
    image = next(path for path in sorted(data.rglob('*val*/*')) if path.suffix in ('.png', '.jpg'))
    counts: Counter = Counter()
    faults: list[str] = []
    number = 0

    def visit(what: str, door: str, argv: list[str], own: Path) -> forks.Outcome:
        before, log = digest(canaries), own.with_suffix('.log')
        outcome = forks.run(partial(go_through, argv, own, log), own.with_suffix('.txt'), seconds)
        fault = verdict(outcome, log, ran)
        if digest(canaries) != before:
            fault = 'the canary tree has changed'
        counts[door] += 1
        print(f'  {what}, {door}: status {outcome.status}', flush=True)
        if fault:
            faults.append(f'{what}, {door}: {fault}')
            print(f'  fault: {faults[-1]}', flush=True)
        return outcome

    def place_of_a_door() -> Path:
        nonlocal number
        number += 1
        own = folder / f'own_{number}'
        own.mkdir()
        return own

    own = place_of_a_door()
    options, last = train_options(own, data)
    outcome = visit('nothing', 'train', ['train', CONFIG, *options, *last], own)
    good_dir = own / 'work'
    good = good_dir / 'iter_2.pth'
    if outcome.status or not good.is_file():
        raise RuntimeError(outcome.text)
    visit('nothing', 'test', ['test', CONFIG, str(good), *options, *last,
                              'test_evaluator.report=True'], own)
    state = torch.load(good, weights_only=False)
    files = hostile_files(made, state, ran, canary)
    files += hostile_configs(made, state, ran)
    random.Random(seed).shuffle(files)
    export = folder / 'export'
    outcome = visit('nothing', 'export', [
        'export', str(good), '--out', str(own / 'out'), '--images', str(image)], own)
    if outcome.status:
        raise RuntimeError(outcome.text)
    (own / 'out').rename(export)
    for file in [good, *files[:count]]:
        for door in doors_of_a_file(file, folder, data, image):
            if door.split()[0] not in COMMANDS:
                continue
            own = place_of_a_door()
            argv = doors_of_a_file(file, own, data, image)[door]
            outcome = visit(file.name, door, argv, own)
            if file == good and outcome.status:
                faults.append(f'a good file, {door}: refused: {outcome.text.strip()[-500:]}')
    good_copy = made / 'good'
    shutil.copytree(good_dir, good_copy, symlinks=True)
    for work_dir in [good_copy, *hostile_work_dirs(made, good_dir, ran, canary)]:
        for door in doors_of_a_work_dir(work_dir, folder, data, image):
            if door.split()[0] not in COMMANDS:
                continue
            own = place_of_a_door()
            work_dir.rename(own / 'work')
            argv = doors_of_a_work_dir(work_dir, own, data, image)[door]
            outcome = visit(work_dir.name, door, argv, own)
            if work_dir == good_copy and outcome.status:
                faults.append(f'a good folder, {door}: {outcome.text.strip()[-500:]}')
            (own / 'work').rename(work_dir)
    for place in [export, *hostile_exports(made, export, ran)]:
        for more in [], ['--runtime', 'openvino']:
            own = place_of_a_door()
            outcome = visit(place.name, f'predict {" ".join(more)}'.strip(), [
                'predict', str(image), '--model', str(place), '--out', str(own / 'out'), *more],
                own)
            if place == export and outcome.status:
                faults.append(f'a good export: {outcome.text.strip()[-500:]}')
    for file in hostile_archives(made):
        own = place_of_a_door()
        visit(file.name, 'new', ['new', str(own / 'project'), '--data', str(file)], own)
    for file in hostile_images(made):
        own = place_of_a_door()
        visit(file.name, 'predict', ['predict', str(file), '--model', str(good), '--out',
                                     str(own / 'out'), '--device', 'cpu'], own)
    return forks.report('doors', counts, faults)
