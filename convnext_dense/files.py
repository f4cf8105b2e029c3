"""Files that are whole or not there."""
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_write(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """A temporary name in the folder of ``path``, renamed to it when the block ends well.

    A kill or an error at any instant leaves the old file, or the new one, whole.

    Args:
        path: the file; its folder is made.
        durable: wait until the content would survive a power cut, too.

    Yields:
        Path: the name to write to.

    Raises:
        OSError: the folder cannot be made, or the file not be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.{os.getpid()}.partial')
    try:
        yield partial
        if durable:
            with open(partial, 'rb') as file:
                os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink()
