"""The newest whole checkpoint of a work directory."""
import time
from pathlib import Path
from typing import Any

from convnext_dense.checkpoints.reading import is_whole, read_checkpoint
from convnext_dense.runtime.checkpoint_folder import (
    POINTER,
    CheckpointFolder,
    read_pointer,
    refuse_pointer,
)

LATEST = 1e11  # seconds since 1970; a later time is none


def read_outline(path: str | Path) -> dict[str, Any]:
    """A checkpoint's structure with its tensors left on the disk.

    Raises:
        Exception: of many kinds, where the file is torn or no checkpoint.
    """
    return read_checkpoint(path, checksums=False)


def newest_whole(folder: str | Path, checkpoints: CheckpointFolder | None = None
                 ) -> tuple[str | None, list[str]]:
    """The newest whole checkpoint of a training run.

    A kill between a checkpoint's renaming and the pointer's leaves the pointer one behind, so all
    checkpoints of the folder are looked at. Those of one run are ordered by iteration, which no
    clock can turn round; runs are ordered by the time inside of their checkpoints.

    Args:
        folder (str | Path): the work directory.
        checkpoints (CheckpointFolder, optional): where the checkpoints are, if not there.

    Returns:
        tuple[str | None, list[str]]: path, and one line for each torn file that was passed over
        and for a pointer that leads elsewhere.

    Raises:
        InputError: the pointer leads elsewhere, and no checkpoint is there.
    """
    checkpoints = checkpoints or CheckpointFolder(folder)
    _, line = read_pointer(Path(folder) / POINTER, checkpoints)
    lines, found = [line] if line else [], []
    for path in checkpoints.checkpoints():
        try:
            outline = read_outline(path)
            if 'optimizer' in outline and 'iter' in outline['meta']:
                found.append((path, run_of(outline), *written_at(outline)))
        except Exception:  # torn files, and those of others, fail in every way
            lines.append(f'{path} is torn (a killed run?) and passed over')
    begun: dict[str | None, float] = {}
    for _, run, written, _ in found:
        begun[run] = max(written, begun.get(run, written))
    # by run, iteration and time: one iteration is written twice where validation comes after it
    found.sort(key=lambda one: (begun[one[1]], one[1] or '', one[3], one[2]), reverse=True)
    for path, *_ in found:
        if is_whole(path):
            return str(path), lines
        lines.append(f'{path} is torn (its checksum is wrong) and passed over')
    if line:
        raise refuse_pointer(line)
    return None, lines


def run_of(checkpoint: dict[str, Any]) -> str | None:
    """The identity of the run that wrote a checkpoint, or None where it has none."""
    own = checkpoint.get('convnext_dense')
    run = own.get('run_id') if isinstance(own, dict) else None
    return run if isinstance(run, str) else None


def written_at(checkpoint: dict[str, Any]) -> tuple[float, int]:
    """When a checkpoint was written, as a sortable pair (time in seconds, iteration).

    Raises:
        ValueError: the iteration is no number.
    """
    own, meta = checkpoint.get('convnext_dense'), checkpoint['meta']
    stamp = own.get('written') if isinstance(own, dict) else None
    if not isinstance(stamp, (int, float)) or not 0 <= stamp < LATEST:
        try:
            stamp = time.mktime(time.strptime(meta['time'], '%Y%m%d_%H%M%S'))
        except (KeyError, ValueError, TypeError, OverflowError):
            stamp = 0.
    if type(meta['iter']) is not int or not 0 <= meta['iter'] < 1 << 63:
        raise ValueError(f'iter is {meta["iter"]!r}')
    return stamp, meta['iter']
