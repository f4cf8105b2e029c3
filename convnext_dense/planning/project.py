"""Making the folder of `convnext-dense new`: read, check, decide, write, and only then name it."""
from __future__ import annotations

import os
import shutil
import sys
import zipfile
from collections import Counter
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from convnext_dense.datasets.importers import read_source
from convnext_dense.datasets.importers.checking import check_source
from convnext_dense.datasets.importers.options import Options
from convnext_dense.datasets.importers.source import Source
from convnext_dense.datasets.importers.splits import assign_splits
from convnext_dense.datasets.importers.writing import write_data
from convnext_dense.datasets.unpack import unpack
from convnext_dense.errors import InputError
from convnext_dense.files import atomic_folder
from convnext_dense.planning.config_text import config_text
from convnext_dense.planning.facts import DataFacts, data_facts, this_machine
from convnext_dense.planning.policy import Plan, make_plan, usual_weights
from convnext_dense.wording import counted

MANY = 200  # images from which on reading shows its progress


class Project(NamedTuple):
    """What was made.

    Attributes:
        folder: the folder.
        source: what was read.
        split: how it was split, in a sentence.
        data: facts about it.
        plan: the choices.
    """
    folder: Path
    source: Source
    split: str
    data: DataFacts
    plan: Plan

    def lines(self) -> list[str]:
        """What was found, decided and comes next, to print."""
        data, plan = self.data, self.plan
        objects = f', {counted(data.objects, "object")}' if data.objects else ''
        return [
            f'{self.source.format}: {counted(len(self.source.images), "image")}{objects}, '
            f'{counted(data.classes, "class", "classes")}: {_class_list(self.source)}',
            f'split: {self.split}',
            *(f'note: {note}' for note in self.source.notes),
            *(f'{topic}: {why}' for topic, why in plan.reasons.items()),
            f'{self.folder} is ready: its config is {self.folder / "config.py"}. Next:',
            f'  convnext-dense train {quote(str(self.folder / "config.py"))}',
            f'  convnext-dense predict IMAGES --model {quote(str(self.folder / "work_dir"))}',
        ]


def make_project(folder: Path, data: Path, format: str | None = None,
                 options: Options = Options(), seed: int = 0, copy: bool = False,
                 weights: str = 'auto', device: str | None = None, batch: int | None = None,
                 size: int | None = None, task: str | None = None,
                 max_iters: int | None = None) -> Project:
    """Read a source and make the folder with its data and a config for it.

    Nothing is left behind where something fails: the folder is written beside its place under
    another name, and gets its own as the last step.

    Args:
        folder: to make; it must not exist, or be empty.
        data: folder or zip of the source.
        format: a key of the importers' table; None recognises it.
        options: what the source does not say.
        seed: of the split.
        copy: copy images in place of linking to them.
        weights: ``auto``, ``none``, or a name, path or URL of weights.
        device: ``cpu`` to plan without a GPU.
        batch, size, max_iters: images a step, long side in pixels and steps; see ``make_plan``.
        task: ``boxes`` leaves masks aside; another one than the source has is refused.

    Raises:
        InputError: the folder is taken, or the source is broken.
    """
    folder = Path(os.path.abspath(folder))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f'{folder} is there already; give another folder, or remove it')
    if not data.exists():
        raise InputError(f'--data {data}: no such file or folder')
    try:
        with atomic_folder(folder) as staging:
            root = data
            if data.is_file():
                root = _unpacked(data, staging / 'unpacked')
            project = _fill(staging, folder, root, format, options, seed, copy or root != data,
                            weights, device, batch, size, task, max_iters)
            shutil.rmtree(staging / 'unpacked', ignore_errors=True)
    except OSError as error:
        raise InputError(f'{folder} cannot be made: {error}') from error
    return project


def _unpacked(archive, target):
    if not zipfile.is_zipfile(archive):
        raise InputError(f'--data {archive} is neither a folder nor a zip file')
    unpack(archive, target, progress=sys.stderr.isatty())
    return target


def _fill(staging, folder, root, format, options, seed, copy, weights, device, batch, size, task,
          max_iters):
    source = read_source(root.resolve(), format, options)
    _choose_task(source, task, root)
    images = source.images
    if len(images) >= MANY and sys.stderr.isatty():
        from tqdm import tqdm
        images = tqdm(images, desc='looking at the images', unit='image')
    check_source(source, images)
    split = assign_splits(source, seed)
    data, machine = data_facts(source), this_machine(device)
    plan = make_plan(data, machine, _weights(weights, machine), batch, size, max_iters)
    facts = write_data(source, staging / 'data', copy)
    (staging / 'config.py').write_text(config_text(plan, data, source.classes, **facts),
                                       encoding='utf-8')
    return Project(folder, source, split, data, plan)


def _choose_task(source, task, root):
    if task == 'boxes' and source.task == 'masks':
        for image in source.images:
            image.instances = [one._replace(mask=None) for one in image.instances]
    elif task not in (None, source.task):
        raise InputError(f'--task {task}: {root} holds {source.task}; leave --task out')


def _weights(wanted, machine):
    if wanted == 'none':
        return None
    if wanted == 'auto':
        from convnext_dense.planning.weights import can_be_had
        name = usual_weights(machine)
        return name if can_be_had(name) else None
    from convnext_dense.checkpoints import fetching, zoo
    if '://' in wanted:
        fetching.check_source(wanted)
        return wanted
    if Path(wanted).expanduser().is_file():
        return str(Path(wanted).expanduser().resolve())
    return zoo.entry(wanted).name


def _class_list(source, most=12):
    counts = Counter(one.name for image in source.images for one in image.instances)
    named = [f'{name} ({counts[name]})' if counts else name for name in source.classes]
    return ', '.join(named[:most]) + (f' and {len(named) - most} more' if named[most:] else '')
