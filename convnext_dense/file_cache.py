"""Files that were fetched once, in a folder of bounded size that many processes share."""
import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from convnext_dense.errors import InputError
from convnext_dense.files import atomic_write

#: share of the limit that a process writes between two looks at the whole folder
STEP = .01
#: share of the limit that is kept when there is too much
KEPT = .9


class FileCache:
    """A folder of files by name, those used last; it exceeds its limit by few percent at most.

    A file's time of change is that of its last use. What is written is whole or not there.

    Args:
        folder (str): is made; on a disk of this machine.
        limit (float): bytes, above 0.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(self, folder: str, limit: float) -> None:
        self.folder, self.limit = Path(folder).expanduser(), limit
        self._unseen = limit  # bytes written since the last look: the first file causes one
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise InputError(f'the cache {folder} cannot be written ({error.strerror}); give '
                             'another folder as backend_args.cache') from error

    def get(self, name: str, fetch: Callable[[], bytes]) -> bytes:
        """The content of a file, fetched where it is not there."""
        path = self._path(name)
        with suppress(FileNotFoundError):  # or another process removes it between two lines
            content = path.read_bytes()
            os.utime(path)
            return content
        content = fetch()
        if len(content) <= self.limit * KEPT:
            self._write(path, content)
        return content

    def _path(self, name):
        digest = hashlib.sha256(name.encode()).hexdigest()
        return self.folder / digest[:2] / digest[2:]

    def _write(self, path, content):
        try:
            with atomic_write(path) as partial:
                partial.write_bytes(content)
        except OSError:  # a full disk: it is fetched again
            return
        self._unseen += len(content)
        if self._unseen > STEP * self.limit:
            self._trim()

    def _trim(self):
        """Remove the files that were used longest ago, where there is too much."""
        try:
            with FileLock(self.folder / '.lock', timeout=0):
                self._unseen = 0
                files = []
                for path in self.folder.glob('??/[!.]*'):
                    with suppress(FileNotFoundError):
                        status = path.stat()
                        files.append((status.st_mtime, status.st_size, path))
                total = sum(size for _, size, _ in files)
                if total <= self.limit:
                    return
                for _, size, path in sorted(files):
                    path.unlink(missing_ok=True)
                    total -= size
                    if total <= KEPT * self.limit:
                        return
        except Timeout:  # another process does it
            pass
