"""One training at a time in a work directory."""
import json
import os
import socket
import stat
import time
from pathlib import Path
from typing import ClassVar

from convnext_dense.errors import InputError, printable
from convnext_dense.runtime.files import explain

NAME = '.training'
FRESH = 600.  # seconds; a lock of another machine that was not touched for longer is stale
TOUCHED = 30.


class WorkDirLock:
    """A file that names host, process and its start, made exclusively (on NFS, too).

    A lock that a crash left is recognised: on the same machine its process is gone, or its number
    belongs to another process by now; that of another machine was not touched for ten minutes.

    Args:
        work_dir: the folder.
    """

    _held_here: ClassVar[set[str]] = set()  # by this process

    def __init__(self, work_dir: str | Path) -> None:
        self.path = Path(work_dir) / NAME
        self._touched = 0.
        self._held = False

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            InputError: another training runs in this folder, or it cannot be written to.
        """
        for _ in range(10):  # several starts at once may find the same stale lock
            try:
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                self._remove_if_stale()
                continue
            except OSError as error:
                raise explain(self.path, error) from error
            with os.fdopen(descriptor, 'w') as file:
                json.dump(dict(host=socket.gethostname(), pid=os.getpid(),
                               started=_start_of(os.getpid()),
                               since=time.strftime('%Y-%m-%d %H:%M:%S')), file)
            self._held, self._touched = True, time.monotonic()
            self._held_here.add(os.path.realpath(self.path))
            return
        raise InputError(f'{self.path}: another training is starting here; try again')

    def is_held(self) -> bool:
        """Whether a training holds it now, in this process or another."""
        try:
            holder = self._holder()
        except InputError:  # no file of a training
            return False
        return holder is not None and not holder[1]

    def touch(self) -> None:
        """Say now and then that the training is alive, for other machines."""
        if self._held and time.monotonic() - self._touched > TOUCHED:
            self._touched = time.monotonic()
            try:
                os.utime(self.path)
            except OSError:  # whoever writes next says what is wrong with the folder
                pass

    def release(self) -> None:
        """Give the lock back."""
        if self._held:
            self._held = False
            self._held_here.discard(os.path.realpath(self.path))
            try:
                self.path.unlink(missing_ok=True)
            except OSError:  # the folder became read-only; the next start finds this one gone
                pass

    def _holder(self):
        """Who holds it, and whether that is stale; None where nobody does."""
        try:
            status = os.lstat(self.path)
            age, plain = time.time() - status.st_mtime, stat.S_ISREG(status.st_mode)
            holder = json.loads(self.path.read_text()) if plain else {}  # a pipe would not end
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):  # being written, or cut by a power failure
            holder = None
        if not plain:
            raise InputError(f'{self.path} is no file of a training; remove it')
        if not isinstance(holder, dict):
            holder, stale = {}, age > TOUCHED
        elif holder.get('host') == socket.gethostname():
            started = _start_of(holder.get('pid'))
            stale = started is None or started != holder.get('started') or (
                holder.get('pid') == os.getpid()
                and os.path.realpath(self.path) not in self._held_here)
        else:
            stale = age > FRESH
        return holder, stale

    def _remove_if_stale(self):
        found = self._holder()
        if found is None:
            return
        holder, stale = found
        if not stale:
            host, pid, since = (f'{holder.get(key, "?")!s:.60}' for key in ('host', 'pid', 'since'))
            raise InputError(printable(
                f'{self.path.parent}: a training runs here on {host}, process {pid}, since '
                f'{since}; choose another --work-dir, or remove {self.path} if that is not so'))
        aside = self.path.with_name(f'{NAME}.{socket.gethostname()}.{os.getpid()}')
        try:
            os.rename(self.path, aside)  # of several starts only one succeeds
        except FileNotFoundError:
            return
        except OSError as error:  # a folder of this name, or a disk that became read-only
            raise explain(self.path, error) from error
        aside.unlink(missing_ok=True)


def _start_of(pid):
    """When a process started, in the system's ticks, or -1 where it does not tell; None: no such
    process."""
    if not isinstance(pid, int) or not 0 < pid < 1 << 31:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    try:
        state, *rest = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return -1
    return None if state == 'Z' else int(rest[18])
