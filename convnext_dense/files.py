"""Files that are whole or not there."""
import errno
import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

PARTIAL = '.partial'  # ends the name of a file that is being written


@contextmanager
def atomic_write(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """A temporary name in the folder of ``path``, renamed to it when the block ends well.

    A kill or an error at any instant leaves the old file, or the new one, whole.

    Args:
        path: the file; its folder is made.
        durable: wait until content and name would survive a power cut, too.

    Yields:
        Path: the name to write to.

    Raises:
        OSError: the folder cannot be made, or the file not be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.{os.getpid()}{PARTIAL}')
    try:
        yield partial
        if durable:
            with open(partial, 'rb') as file:
                os.fsync(file.fileno())
        os.replace(partial, path)
        if durable:
            _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside ``path``, renamed to it when the block ends well.

    An error leaves nothing; what a killed process left is removed by the next call.

    Args:
        path: the folder; it must not be there, or be empty.

    Yields:
        Path: the folder to write to.

    Raises:
        OSError: it cannot be made, or ``path`` is there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f'.{glob.escape(path.name)}.*{PARTIAL}'):
        if not _runs(left.suffixes[-2].removeprefix('.')):
            shutil.rmtree(left, ignore_errors=True)
    partial = path.with_name(f'.{path.name}.{os.getpid()}.partial')
    partial.mkdir()
    try:
        yield partial
        os.replace(partial, path)  # only an empty folder gives way
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_image(path: str | Path, pixels: 'np.ndarray', options: Sequence[int] = ()) -> None:
    """Write an image file, whole or not at all; its folder is there.

    OpenCV's ``imwrite`` says nothing where the disk is full or the folder gone.

    Args:
        path: its suffix names the format.
        pixels: uint8, (H, W) or (H, W, 3) in BGR order.
        options: of OpenCV's encoder.

    Raises:
        OSError: it cannot be written.
    """
    import cv2
    path = Path(path)
    data = cv2.imencode(path.suffix, pixels, list(options))[1].tobytes()
    os.stat(path.parent)
    with atomic_write(path) as partial:
        partial.write_bytes(data)


def _runs(process: str) -> bool:
    """Whether a process of this number is there."""
    with suppress(OSError, ValueError):
        os.kill(int(process), 0)
        return True
    return False


def _sync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems sync no folders
            raise
    finally:
        os.close(descriptor)
