"""The models of ``compare --demo``: three backbones of about one size, trained alike.

Same data, heads, recipe and seeds; the backbone differs, and each has its own learning rate.
"""
import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path

from convnext_dense.analysis.study import Study
from convnext_dense.commands import benchmark, compare_study, demo
from convnext_dense.commands.options import choose_device
from convnext_dense.config_files import FOLDER

DATA = dict(train=800, val=200, size=64)
SIZE = '{size}x{size}'.format(**DATA)  # of the images
MODELS = {name: FOLDER / 'compare' / f'upernet_{name.lower()}_short_shapes.py'
          for name in ('ConvNeXt', 'Swin', 'ResNet')}
LRS = (1e-3, 3e-3)
SEEDS = 3
ROUNDS = 10


def train_models(folder: Path, first_seed: int, update: Callable) -> tuple[list[str], list[str]]:
    """Tune, train and time the models; says what it does.

    Args:
        folder (Path): gets the data set, a work directory for each training, and
            ``benchmark.json``.
        first_seed (int): tunes; those after it count.
        update (callable): gets the named work directories and the lines on the tuning after each
            training that counts.

    Returns:
        tuple[list[str], list[str]]: what ``compare`` takes, and the lines on the tuning.
    """
    from convnext_dense.datasets.shapes import write_shapes
    device = choose_device(None)
    data_root = str(folder / 'shapes')
    write_shapes(data_root, **DATA)
    study = Study(MODELS, LRS, tuple(range(first_seed + 1, first_seed + 1 + SEEDS)), first_seed)
    paths: list[str] = []

    def keep(done, lines):
        paths[:] = done
        update(done, lines)
    lines = compare_study.run_study(study, folder, data_root, device, keep)
    demo.say('speed and memory, the models in turns')
    work_dirs = [Path(next(path for path in paths if path.startswith(f'{name}='))
                      .split('=', 1)[1]) for name in MODELS]
    return [*paths, str(time_models(folder, work_dirs))], lines


def time_models(folder: Path, work_dirs: list) -> Path:
    """Time trained models, one of each, on batches of 4.

    Returns:
        Path: the benchmark's file.
    """
    from mmengine.runner import find_latest_checkpoint
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    out = folder / 'benchmark.json'
    args = parser.parse_args([
        *map(str, MODELS.values()), '--mode', 'both', '--size', SIZE, '--batch', '4',
        '--rounds', str(ROUNDS), '--out', str(out),
        '--weights', *(str(work_dir / find_latest_checkpoint(work_dir)) for work_dir in work_dirs)])
    with open(folder / 'benchmark.log', 'w') as log, contextlib.redirect_stdout(log), \
            contextlib.redirect_stderr(log):
        benchmark.run(args)
    return out
