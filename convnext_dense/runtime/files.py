"""Files that are whole or not there: atomic writing, recognising torn checkpoints, the newest one.

A file is written under a temporary name in its own folder, synced and renamed, so a kill at any
instant leaves the old file or the new one. torch's checkpoints are zip archives with a CRC-32 of
every tensor, which serves as the checksum: no second file that could disagree with the first.
"""
import errno
import logging
import os
import zipfile
from pathlib import Path

import torch

from convnext_dense.errors import InputError
from convnext_dense.runtime.checkpoint_folder import (
    CheckpointFolder,
    read_pointer,
    refuse_pointer,
)

PARTIAL = '.partial'
POINTER = 'last_checkpoint'
MARGIN = 2**20  # bytes beside the tensors: names, settings, the archive's table
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WriteError(InputError):
    """A checkpoint could not be written; the earlier ones are untouched."""


class _File:
    """A binary file for torch.save that keeps the operating system's error.

    torch's archive writer turns a failed write into a RuntimeError without its reason.
    """

    def __init__(self, path):
        self.file = open(path, 'wb', buffering=0)
        self.error = None

    def write(self, data):
        view = memoryview(data)
        total = view.nbytes
        try:
            while view.nbytes:
                view = view[self.file.write(view):]
        except OSError as error:
            self.error = error
            raise
        return total

    def flush(self):
        pass


def write_atomically(path, write, durable=True):
    """Write a file so that a kill or an error leaves the old one, or the new one, whole.

    Args:
        path (str | Path): the file.
        write (Callable[[file], None]): writes the content to a binary file object.
        durable (bool): wait until it would survive a power cut, too.

    Raises:
        WriteError: full disk, quota, folder missing or not writable.
    """
    path = Path(path)
    partial = path.with_name(f'.{path.name}.{os.getpid()}{PARTIAL}')
    file = None
    try:
        file = _File(partial)
        write(file)
        if durable:
            os.fsync(file.file.fileno())
        file.file.close()
        os.replace(partial, path)
        if durable:
            sync_folder(path.parent)
    except BaseException as error:
        cause = file.error if file and file.error else error
        _remove(partial)
        if isinstance(cause, OSError):
            raise explain(path, cause) from cause
        raise
    finally:
        if file:
            file.file.close()


def concerns_writing(error, folder):
    """Whether an OSError says that a folder cannot be written to any more."""
    inside = isinstance(error.filename, str) and os.path.abspath(error.filename).startswith(
        os.path.join(os.path.abspath(folder), ''))
    return error.errno in (*_NO_SPACE, errno.EROFS, errno.ESTALE) or inside


def raise_write_errors(logger):
    """Let a log file that cannot be written end the run; logging prints a traceback a line."""
    def raise_again(record):
        raise  # noqa: PLE0704 logging calls it while it handles the error
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = raise_again


def explain(path, error):
    """The error of one line for an OSError while ``path`` was written."""
    path = Path(path)
    reason = {errno.ENOENT: f'the folder {path.parent} is gone; make it again',
              errno.EROFS: f'the folder {path.parent} is read-only; choose another work directory',
              errno.EACCES: f'the folder {path.parent} is not writable; correct its rights'}.get(
        error.errno, 'free some space there' if error.errno in _NO_SPACE else
        'look at the file system')
    return WriteError(f'{path} cannot be written: {error.strerror}. What was there before is '
                      f'whole; {reason}, then go on with --resume')


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass


def sync_folder(folder):
    """Make renames in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems sync no folders
            raise
    finally:
        os.close(descriptor)


def write_checkpoint(checkpoint, path):
    """Write a checkpoint atomically, after looking whether it fits on the disk.

    Raises:
        WriteError: it does not fit, or cannot be written.
    """
    path = Path(path)
    needed = tensor_bytes(checkpoint) + MARGIN
    try:
        status = os.statvfs(path.parent)
    except OSError as error:
        raise explain(path, error) from error
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise WriteError(f'{path} needs {needed / 1e6:.1f} MB, but {path.parent} has '
                         f'{free / 1e6:.1f} MB left. What was there before is whole; free some '
                         'space there, then go on with --resume')
    crc = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(True)
    try:
        write_atomically(path, lambda file: torch.save(checkpoint, file))
    finally:
        torch.serialization.set_crc32_options(crc)


def tensor_bytes(value):
    """Bytes of all distinct storages inside nested dicts and lists."""
    storages = {}

    def visit(node):
        if isinstance(node, torch.Tensor):
            storage = node.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(node, dict):
            for child in node.values():
                visit(child)
        elif isinstance(node, (list, tuple)):
            for child in node:
                visit(child)

    visit(value)
    return sum(storages.values())


def move_pointer(folder, path):
    """Let ``last_checkpoint`` in ``folder`` name ``path``, relative to the folder.

    mmengine's own holds the path as the run was given it, which leads back to the first folder
    once the folder is copied.
    """
    # a pointer lost in a power cut costs nothing: newest_whole looks at all checkpoints
    name = os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
    write_atomically(Path(folder) / POINTER, lambda file: file.write(name.encode()),
                     durable=False)


def remove_partial(folder):
    """Remove what killed runs left half written; returns the removed names."""
    left = [path for path in Path(folder).glob(f'.*{PARTIAL}') if path.is_file()]
    for path in left:
        _remove(path)
    return [path.name for path in left]


def is_whole(path):
    """Whether a checkpoint is complete and every tensor's checksum agrees.

    Torch's format before 1.6 has no checksums; such a file is whole if all of it can be read.
    """
    try:
        with open(path, 'rb') as file:
            legacy = file.read(1) == b'\x80'
        if legacy:
            read_outline(path)
            return True
        with zipfile.ZipFile(path) as archive:
            return bool(archive.namelist()) and archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError):
        return False


def read_outline(path):
    """A checkpoint's structure with its tensors left on the disk.

    Raises:
        Exception: of many kinds, where the file is torn or no checkpoint.
    """
    from convnext_dense.checkpoints import read_checkpoint
    return read_checkpoint(path, checksums=False)


def newest_whole(folder, checkpoints=None):
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
    begun = {}
    for _, run, time, _ in found:
        begun[run] = max(time, begun.get(run, time))
    # by run, iteration and time: one iteration is written twice where validation comes after it
    found.sort(key=lambda one: (begun[one[1]], one[1] or '', one[3], one[2]), reverse=True)
    for path, *_ in found:
        if is_whole(path):
            return str(path), lines
        lines.append(f'{path} is torn (its checksum is wrong) and passed over')
    if line:
        raise refuse_pointer(line)
    return None, lines


def run_of(checkpoint):
    """The identity of the run that wrote a checkpoint, or None where it has none."""
    own = checkpoint.get('convnext_dense')
    run = own.get('run_id') if isinstance(own, dict) else None
    return run if isinstance(run, str) else None


def written_at(checkpoint):
    """When a checkpoint was written, as a sortable pair (time in seconds, iteration).

    Raises:
        ValueError: the iteration is no number.
    """
    import time
    own, meta = checkpoint.get('convnext_dense'), checkpoint['meta']
    stamp = own.get('written') if isinstance(own, dict) else None
    if not isinstance(stamp, (int, float)):
        try:
            stamp = time.mktime(time.strptime(meta['time'], '%Y%m%d_%H%M%S'))
        except (KeyError, ValueError, TypeError, OverflowError):
            stamp = 0.
    if not isinstance(meta['iter'], int):
        raise ValueError(f'iter is {meta["iter"]!r}')
    return stamp, meta['iter']
