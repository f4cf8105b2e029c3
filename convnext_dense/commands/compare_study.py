"""Runs the trainings of a study, and goes on where it was interrupted."""
from __future__ import annotations

import contextlib
import json
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from mmengine.config import Config

from convnext_dense.analysis.study import Study, Training
from convnext_dense.commands import demo
from convnext_dense.config import load_config
from convnext_dense.errors import InputError, in_one_line, is_out_of_memory
from convnext_dense.files import atomic_write

DONE = 'training.json'
#: figure that chooses a learning rate: key of the evaluator, factor to percent
FIGURES = {'coco/segm_mAP': 100, 'coco/bbox_mAP': 100, 'mIoU': 1}


def run_study(study: Study, folder: Path, data_root: str | None, device: str,
              update: Callable[[list[str], list[str]], None]) -> tuple[list[str], list[str]]:
    """Tune each model, then train the seeds that count.

    Args:
        study (Study): the plan.
        folder (Path): gets a work directory for each training; finished ones are not repeated.
        data_root (str | None): of the data set; None leaves that of the configs.
        device (str): ``cpu`` or ``cuda``.
        update (callable): called after each training that counts, with the named work
            directories so far (``NAME=PATH``) and the lines on the tuning.

    Returns:
        tuple[list[str], list[str]]: the named work directories of the trainings that count, and
        the lines on the tuning.

    Raises:
        InputError: the folder holds trainings with other settings.
    """
    tuning = study.tuning()
    figures = {}
    for training, figure in _train_all(study, tuning, folder, data_root, device):
        figures[training] = figure
    lines = study.tuning_lines(figures)
    for line in lines:
        demo.say(line)
    done: list[Training] = []
    counted = study.counted(study.choose(figures))
    paths: list[str] = []
    for training, _ in _train_all(study, counted, folder, data_root, device):
        done.append(training)
        paths = [f'{each.model}={folder / each.folder}' for each in counted if each in done]
        update(paths, lines)
    return paths, lines


def settings(study: Study, training: Training) -> dict:
    """Overrides of the model's config that make the training."""
    return {'randomness.seed': training.seed,
            lr_key(load_config(study.configs[training.model])): training.lr}


def lr_key(cfg: Config) -> str:
    """The setting that holds the largest learning rate of a training."""
    for index, scheduler in enumerate(cfg.get('param_scheduler') or ()):
        if scheduler.get('type') == 'OneCycleLR':
            return f'param_scheduler.{index}.eta_max'
    return 'optim_wrapper.optimizer.lr'


def unfinished(study: Study, folder: Path) -> int:
    """How many trainings are left, as far as it can be known before learning rates are chosen.

    Raises:
        InputError: the folder holds trainings with other settings.
    """
    tuning = {training: _finished(folder, study, training) for training in study.tuning()}
    left = sum(figure is None for figure in tuning.values())
    if left:
        return left + len(study.seeds) * len(study.configs)
    chosen = study.choose({training: figure for training, figure in tuning.items()
                           if figure is not None})
    return sum(_finished(folder, study, training) is None for training in study.counted(chosen))


def _train_all(study, trainings, folder, data_root, device):
    """Yield every training with its figure in percent, in the order in which they end."""
    jobs = {}
    for number, training in enumerate(trainings, start=1):
        work_dir = folder / training.folder
        label = f'[{number}/{len(trainings)}] {training.model}, lr {training.lr:g}, seed ' \
                f'{training.seed}'
        found = _finished(folder, study, training)
        if found is not None:
            demo.say(f'{label}: done before, {found:.1f}')
            yield training, found
        else:
            jobs[training] = (label, study.configs[training.model], data_root, work_dir, device,
                              settings(study, training))
    if not jobs:
        return
    with at_once(len(jobs), device) as pool:
        running: dict[Future, Training] = {}
        waiting = list(jobs)
        while running or waiting:
            # no more than run: what a pool holds in its queue can no longer be called off
            while waiting and len(running) < demo.process_count(len(jobs), device):
                training = waiting.pop(0)
                running[pool.submit(train_once, *jobs[training])] = training
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                training = running.pop(future)
                yield training, result_of(future, jobs[training][0])


@contextlib.contextmanager
def at_once(jobs: int, device: str) -> Iterator[ProcessPoolExecutor]:
    """The processes of ``demo``; what fails or is interrupted starts no further job.

    Where this process is asked to end (SIGTERM), so are they, which would go on without it; those
    that train save their state.
    """
    with demo.training_processes(jobs, device) as pool, _ending_together():
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextlib.contextmanager
def _ending_together():
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return

    def end(number, frame):
        for child in multiprocessing.active_children():
            child.terminate()
        raise SystemExit(128 + number)
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def result_of(future: Future, label: str) -> Any:
    """What a job returned.

    Raises:
        InputError: there was no memory for it.
    """
    try:
        return future.result()
    except (BrokenProcessPool, RuntimeError, MemoryError) as error:
        if not isinstance(error, BrokenProcessPool) and not is_out_of_memory(error):
            raise
        raise InputError(f'{label}: there is no memory for it ({in_one_line(error)}); give a '
                         'smaller --batch or --size') from error


def train_once(label: str, config: str, data_root: str | Path, work_dir: Path, device: str,
               overrides: dict) -> float:
    """Train, evaluate and note that it is done; resumes from the newest checkpoint.

    Returns:
        float: the figure in percent.
    """
    start, cpu = time.time(), time.process_time()
    result = demo.train_and_evaluate(label, config, data_root, work_dir, device,
                                     dict(overrides, resume=True), images=0)
    key = next(key for key in FIGURES if key in result['metrics'])
    figure = FIGURES[key] * result['metrics'][key]
    with atomic_write(work_dir / DONE) as partial:
        partial.write_text(json.dumps(dict(
            config=_text(load_config(config, overrides)), figure=figure,
            seconds=time.time() - start, cpu_seconds=time.process_time() - cpu)))
    demo.say(f'{label}: {key} {figure:.1f}')
    return figure


def _finished(folder, study, training):
    """The figure of a training that is done, or None."""
    work_dir = folder / training.folder
    path = work_dir / DONE
    if not path.is_file():
        return None
    cfg = load_config(study.configs[training.model], settings(study, training))
    try:
        note = json.loads(path.read_text())
        figure, config = float(note['figure']), note['config']
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f'{path}: not the note of a training ({error}); remove {work_dir} to '
                         'train it again') from error
    if config != _text(cfg):
        raise InputError(f'{work_dir}: trained with other settings; remove it, or give another '
                         'folder with --out')
    return figure


def _text(cfg):
    return json.dumps(cfg.to_dict(), sort_keys=True, default=str)
