"""Writing the files of a run, and the errors of one line where that fails.

torch's checkpoints are zip archives with a CRC-32 of every tensor, which serves as the checksum: no
second file that could disagree with the first.
"""
import errno
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import torch

from convnext_dense.errors import InputError, printable
from convnext_dense.files import PARTIAL, atomic_write
from convnext_dense.runtime.checkpoint_folder import POINTER

MARGIN = 2**20  # bytes beside the tensors: names, settings, the archive's table
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WriteError(InputError):
    """A checkpoint could not be written; the earlier ones are untouched."""


class _File:
    """A binary file for torch.save that keeps the operating system's error.

    torch's archive writer turns a failed write into a RuntimeError without its reason.
    """

    def __init__(self, path: Path) -> None:
        self.file = open(path, 'wb', buffering=0)
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data)
        total = view.nbytes
        try:
            while view.nbytes:
                view = view[self.file.write(view):]
        except OSError as error:
            self.error = error
            raise
        return total

    def flush(self) -> None:
        """Nothing: it has no buffer."""


def write_atomically(path: str | Path, write: Callable[[_File], object],
                     durable: bool = True) -> None:
    """Write a file so that a kill or an error leaves the old one, or the new one, whole.

    Args:
        path: the file.
        write: writes the content to a binary file object.
        durable: wait until it would survive a power cut, too.

    Raises:
        WriteError: full disk, quota, folder not writable.
    """
    file = None
    try:
        with atomic_write(path, durable) as partial:
            file = _File(partial)
            try:
                write(file)
            finally:
                file.file.close()
    except BaseException as error:
        cause = file.error if file and file.error else error
        if isinstance(cause, OSError):
            raise explain(path, cause) from cause
        raise


def concerns_writing(error: OSError, folder: str | Path) -> bool:
    """Whether an OSError says that a folder cannot be written to any more."""
    inside = isinstance(error.filename, str) and os.path.join(
        os.path.abspath(error.filename), '').startswith(os.path.join(os.path.abspath(folder), ''))
    return error.errno in (*_NO_SPACE, errno.EROFS, errno.ESTALE) or inside


def raise_write_errors(logger: logging.Logger) -> None:
    """Let a log file that cannot be written end the run; logging prints a traceback a line."""
    def raise_again(record):
        raise  # noqa: PLE0704 logging calls it while it handles the error
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            setattr(handler, 'handleError', raise_again)  # noqa: B010 of this handler alone


def escape_control_characters(record: logging.LogRecord) -> bool:
    """A filter of a logger: names of files and classes reach no terminal as they are."""
    record.msg, record.args = printable(record.getMessage(), '\n\t'), None
    return True


def explain(path: str | Path, error: OSError) -> WriteError:
    """The error of one line for an OSError while ``path`` was written."""
    path = Path(path)
    reason = {errno.ENOENT: f'the folder {path.parent} is gone; make it again',
              errno.EROFS: f'the folder {path.parent} is read-only; choose another work directory',
              errno.EACCES: f'the folder {path.parent} is not writable; correct its rights'}.get(
        error.errno or 0, 'free some space there' if error.errno in _NO_SPACE else
        'look at the file system')
    return WriteError(f'{path} cannot be written: {error.strerror}. What was there before is '
                      f'whole; {reason}, then go on with --resume')


def write_checkpoint(checkpoint: dict[str, Any], path: str | Path) -> None:
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
        write_atomically(path, lambda file: torch.save(checkpoint, cast(IO[bytes], file)))
    finally:
        torch.serialization.set_crc32_options(crc)


def tensor_bytes(value: Any) -> int:
    """Bytes of all distinct storages inside nested dicts and lists."""
    storages: dict[int, int] = {}

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


def move_pointer(folder: str | Path, path: str | Path) -> None:
    """Let ``last_checkpoint`` in ``folder`` name ``path``, relative to the folder.

    mmengine's own holds the path as the run was given it, which leads back to the first folder
    once the folder is copied.
    """
    # a pointer lost in a power cut costs nothing: newest_whole looks at all checkpoints
    name = os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
    write_atomically(Path(folder) / POINTER, lambda file: file.write(name.encode()),
                     durable=False)


def remove_partial(folder: str | Path) -> list[str]:
    """Remove what killed runs left half written; returns the removed names."""
    left = [path for path in Path(folder).glob(f'.*{PARTIAL}') if path.is_file()]
    for path in left:
        with suppress(OSError):
            path.unlink()
    return [path.name for path in left]
