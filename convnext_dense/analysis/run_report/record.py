"""What a training writes down for its report beside mmengine's scalars: lines of JSON.

Each line names its run, so that a resumed run goes on in the same file, and a new run in the same
folder begins anew. A line that a kill tore is passed over.
"""
import json
import os
from pathlib import Path
from typing import Any

from convnext_dense.datasets.coco_masks import is_number

#: folder of the record and the drawings, in the work directory
FOLDER = 'report'
NAME = 'record.jsonl'
#: what a line of each kind holds besides ``run`` and ``kind``, with its types (float: any number);
#: the file may come from elsewhere
KINDS: dict[str, dict[str, type]] = {
    'start': dict(log=str, step=int, facts=dict, rates=list),
    'rates': dict(step=int, rates=list, memory=float),
    'skipped': dict(step=int, problem=str),
    'validation': dict(step=int, seconds=float, samples=list, worst=list, scored=int),
    'end': dict(step=int, state=str, text=str),
}


class Record:
    """The file of one run.

    Args:
        work_dir (str | Path): of the training.
        run (str): the identity of the run, which a resumed run keeps.
    """

    def __init__(self, work_dir: str | Path, run: str) -> None:
        self.path = Path(work_dir) / FOLDER / NAME
        self.run = run

    def append(self, kind: str, **values: Any) -> None:
        """Write a line: one of ``KINDS``.

        Raises:
            OSError: it cannot be written.
        """
        self.path.parent.mkdir(exist_ok=True)  # a work directory that was removed stays so
        line = json.dumps(dict(kind=kind, run=self.run, **values)) + '\n'
        torn = self.path.is_file() and not _ends_line(self.path)
        with open(self.path, 'ab', buffering=0) as file:
            file.write(('\n' * torn + line).encode())


def read_record(work_dir: str | Path) -> list[dict[str, Any]]:
    """The lines of the run that started last, in their order; empty where there are none.

    What was written of steps that a resumed run repeats stands there twice, the last one counts.
    """
    try:
        text = (Path(work_dir) / FOLDER / NAME).read_text(encoding='utf-8', errors='replace')
    except OSError:
        return []
    entries = [entry for entry in map(_entry, text.splitlines()) if entry]
    runs = [entry['run'] for entry in entries if entry['kind'] == 'start']
    return [entry for entry in entries if entry['run'] == runs[-1]] if runs else []


def _entry(line):
    """The content of a line, or None where it is none of ``KINDS``."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get('run'), str):
        return None
    kind = entry.get('kind')
    wanted = KINDS.get(kind) if isinstance(kind, str) else None
    if wanted is None or not all(_is(entry.get(key), kind) for key, kind in wanted.items()):
        return None
    return entry


def _is(value, kind):
    """Whether a value is of a kind; numbers are finite."""
    if kind in (int, float):
        return is_number(value) and (kind is float or isinstance(value, int))
    return isinstance(value, kind)


def _ends_line(path):
    with open(path, 'rb') as file:
        try:
            file.seek(-1, os.SEEK_END)
        except OSError:  # an empty file
            return True
        return file.read(1) == b'\n'
