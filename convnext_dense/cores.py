"""The number of CPU cores that this process may use."""
import os


def core_count() -> int:
    """Cores of this process: those that it was bound to, where the system knows that (Linux).

    macOS and Windows have no ``sched_getaffinity``; there it is the machine's number.
    """
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
