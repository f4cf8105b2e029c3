"""What is known of a training, read from its work directory as data."""
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convnext_dense.analysis.run_report.record import read_record
from convnext_dense.analysis.training_curves import Points, read_points
from convnext_dense.datasets.coco_masks import is_number
from convnext_dense.errors import InputError
from convnext_dense.runtime.bad_image_list import read_bad_images
from convnext_dense.runtime.lock import WorkDirLock


@dataclass(frozen=True)
class RunReport:
    """What a report shows.

    Attributes:
        work_dir (Path): of the training.
        state (str): ``running``, ``finished``, ``stopped``, ``failed`` or ``killed``.
        text (str): why it ended.
        step (int): training steps done.
        points (Points): mmengine's scalars over the steps, by their names.
        rates (Points): learning rates over the steps, by the name of the group.
        memory (list): steps and MiB that the main process had held at most.
        starts (list[dict]): facts of each start, with its ``step``; empty for a training without
            a record.
        validations (list[dict]): lines of the record, one a step, ascending.
        skipped (list[tuple[int, str]]): steps that were skipped, and why.
        bad_images (list[dict]): ``file``, ``problem`` and ``used`` of each.
        written (float): seconds since the epoch.
    """
    work_dir: Path
    state: str
    text: str
    step: int
    points: Points
    rates: Points = field(default_factory=dict)
    memory: list = field(default_factory=list)
    starts: list = field(default_factory=list)
    validations: list = field(default_factory=list)
    skipped: list = field(default_factory=list)
    bad_images: list = field(default_factory=list)
    written: float = 0.

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts of the last start."""
        return self.starts[-1] if self.starts else {}


def gather(work_dir: str | Path, running: bool | None = None) -> RunReport:
    """Read what a training wrote; of several in one folder, the one that started last.

    Args:
        work_dir (str | Path): of the training.
        running (bool, optional): whether it still goes on; by default the folder's lock says so.

    Raises:
        InputError: no training was there.
    """
    folder = Path(work_dir)
    lines = read_record(folder)
    by_kind: dict[str, list[dict]] = {kind: [] for kind in (
        'start', 'rates', 'skipped', 'validation', 'end')}
    for line in lines:
        by_kind[line['kind']].append(line)
    starts = by_kind['start']
    points = read_points(folder, {line['log'] for line in starts} if starts else None)
    if not starts and not points:
        raise InputError(f'{folder}: no training wrote anything here; give the work directory of '
                         'convnext-dense train')
    if running is None:
        running = WorkDirLock(folder).is_held()
    ended = lines[-1] if lines and lines[-1]['kind'] == 'end' else None
    state = 'running' if running else ended['state'] if ended else 'killed' if starts else ''
    steps = [step for values in points.values() for step, _ in values]
    return RunReport(
        folder, state, ended['text'] if ended and not running else '',
        int(max([*steps, *(line['step'] for line in lines)], default=0)), points,
        _rates(starts, by_kind['rates']),
        sorted({line['step']: line['memory'] for line in by_kind['rates']}.items()),
        [dict(line['facts'], step=line['step']) for line in starts],
        [line for _, line in sorted({line['step']: line for line in by_kind[
            'validation']}.items())],
        sorted({line['step']: line['problem'] for line in by_kind['skipped']}.items()),
        read_bad_images(folder / 'bad_images.jsonl', starts[-1]['run'] if starts else None),
        time.time())


def _rates(starts, lines):
    """Learning rates of each group of the last start, which the earlier ones had, too."""
    if not starts:
        return {}
    names = [str(name) for name in starts[-1]['rates']]
    by_step = {line['step']: line['rates'] for line in lines
               if len(line['rates']) == len(names) and all(map(is_number, line['rates']))}
    return {name: [(step, rates[index]) for step, rates in sorted(by_step.items())]
            for index, name in enumerate(names)}
