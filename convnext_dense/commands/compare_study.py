"""Runs the trainings of a study, and goes on where it was interrupted."""
import json
import time
from collections.abc import Callable
from concurrent.futures import as_completed
from pathlib import Path

from convnext_dense.analysis.study import Study, Training
from convnext_dense.commands import demo
from convnext_dense.config import load_config
from convnext_dense.errors import InputError
from convnext_dense.files import atomic_write

DONE = 'training.json'
#: figure that chooses a learning rate: key of the evaluator, factor to percent
FIGURES = {'coco/segm_mAP': 100, 'coco/bbox_mAP': 100, 'mIoU': 1}


def run_study(study: Study, folder: Path, data_root: str, device: str,
              update: Callable[[list[str], list[str]], None]) -> list[str]:
    """Tune each model, then train the seeds that count.

    Args:
        study (Study): the plan.
        folder (Path): gets a work directory for each training; finished ones are not repeated.
        data_root (str): of the data set.
        device (str): ``cpu`` or ``cuda``.
        update (callable): called after each training that counts, with the named work
            directories so far (``NAME=PATH``) and the lines on the tuning.

    Returns:
        list[str]: lines on the tuning.

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
    for training, _ in _train_all(study, counted, folder, data_root, device):
        done.append(training)
        update([f'{each.model}={folder / each.folder}' for each in counted if each in done], lines)
    return lines


def settings(study: Study, training: Training) -> dict:
    """Overrides of the model's config that make the training."""
    return {'randomness.seed': training.seed, 'param_scheduler.0.eta_max': training.lr}


def _train_all(study, trainings, folder, data_root, device):
    """Yield every training with its figure in percent, in the order in which they end."""
    jobs = {}
    for number, training in enumerate(trainings, start=1):
        work_dir = folder / training.folder
        label = f'[{number}/{len(trainings)}] {training.model}, lr {training.lr:g}, seed ' \
                f'{training.seed}'
        config = study.configs[training.model]
        overrides = settings(study, training)
        found = _finished(work_dir, load_config(config, overrides))
        if found is not None:
            demo.say(f'{label}: done before, {found:.1f}')
            yield training, found
        else:
            jobs[training] = (label, config, data_root, work_dir, device, overrides)
    if not jobs:
        return
    with demo.training_processes(len(jobs), device) as pool:
        futures = {pool.submit(train_once, *job): training for training, job in jobs.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()


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


def _finished(work_dir, cfg):
    """The figure of a training that is done, or None."""
    path = work_dir / DONE
    if not path.is_file():
        return None
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
