"""What mmengine logged at each step of a run: the numbers of ``scalars.json``, read as data."""
import json
from collections.abc import Collection, Iterator
from pathlib import Path

from convnext_dense.datasets.coco_masks import is_number


def read_scalars(work_dir: str | Path, logs: Collection[str] | None = None
                 ) -> Iterator[list[dict[str, float]]]:
    """The lines of each run in a work directory, in the order of their starts.

    A line that a kill tore is passed over, and so is what is no finite number.

    Args:
        work_dir (str | Path): of the runs.
        logs (Collection[str] | None): names of the runs' log folders; None takes all.

    Yields:
        list[dict[str, float]]: of a run, each line with ``step`` and whatever was logged then.
    """
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        if logs is not None and path.parts[-3] not in logs:
            continue
        lines = path.read_text(errors='replace').splitlines() if path.is_file() else ()
        yield [line for line in map(_numbers, lines) if line]


def _numbers(line):
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return {key: value for key, value in entry.items() if is_number(value)} if isinstance(
        entry, dict) else {}
