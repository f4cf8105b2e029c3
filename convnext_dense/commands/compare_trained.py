"""Times the trained models of a study, and finds the images on which they differ most."""
from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from convnext_dense.analysis.study import Study
from convnext_dense.commands import benchmark, demo
from convnext_dense.config import load_config

if TYPE_CHECKING:
    from convnext_dense.analysis.disagreements import Disagreement


class Compared(NamedTuple):
    """What a study gives to the report.

    Attributes:
        paths (list[str]): what ``compare`` takes: named work directories, and timings.
        tuning (list[str]): what was tuned for whom, a line each.
        size (str): of the images, ``WxH``.
        examples (list[Disagreement]): images on which the models differ most.
    """
    paths: list[str]
    tuning: list[str]
    size: str
    examples: list[Disagreement]


def compared(study: Study, folder: Path, data_root: str | None, device: str, paths: list[str],
             tuning: list[str], size: str, batch: int, rounds: int) -> Compared:
    """Time the trained models and look at their images; says what it does.

    Args:
        study (Study): of the models, trained.
        folder (Path): gets ``benchmark.json``.
        data_root (str | None): of the data set; None leaves that of the configs.
        device (str): ``cpu`` or ``cuda``.
        paths, tuning, size: of the result; the timings are added to the paths.
        batch (int): images a step of the timing.
        rounds (int): of the timing.
    """
    from convnext_dense.analysis.disagreements import Trained, largest_disagreements
    from convnext_dense.config import set_data_root
    weights = _newest_checkpoints(study, first_folders(paths))
    demo.say('speed and memory, the models in turns')
    timed = time_models(study, weights, folder / 'benchmark.json', size, batch, rounds)
    demo.say('images on which the models differ most')
    models = {}
    with open(folder / 'benchmark.log', 'a') as log, contextlib.redirect_stdout(log), \
            contextlib.redirect_stderr(log):
        for name, config in study.configs.items():
            cfg = load_config(config)
            if data_root is not None:
                set_data_root(cfg, data_root)
            models[name] = Trained(cfg, weights[name])
        examples = largest_disagreements(models, device)
    return Compared([*paths, str(timed)], tuning, size, examples)


def _newest_checkpoints(study, folders):
    from mmengine.runner import find_latest_checkpoint
    return {name: folders[name] / find_latest_checkpoint(folders[name]) for name in study.configs}


def first_folders(paths: Sequence[str]) -> dict[str, Path]:
    """The first work directory of each model, from ``NAME=PATH``."""
    first: dict[str, Path] = {}
    for path in paths:
        name, _, work_dir = path.partition('=')
        first.setdefault(name, Path(work_dir))
    return first


def time_models(study: Study, weights: dict[str, Path], out: Path, size: str, batch: int,
                rounds: int) -> Path:
    """Time trained models, one of each, in inference and training.

    Args:
        study (Study): of the models.
        weights (dict[str, Path]): a checkpoint of each.
        out (Path): the file to write; its log is beside it.
        size (str): of the images, ``WxH``.
        batch (int): images a step.
        rounds (int): measured steps of each.

    Returns:
        Path: ``out``.
    """
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    args = parser.parse_args([
        *map(str, study.configs.values()), '--mode', 'both', '--size', size, '--batch', str(batch),
        '--rounds', str(rounds), '--out', str(out),
        '--weights', *(str(weights[name]) for name in study.configs)])
    with open(out.with_suffix('.log'), 'w') as log, contextlib.redirect_stdout(log), \
            contextlib.redirect_stderr(log):
        benchmark.run(args)
    return out
