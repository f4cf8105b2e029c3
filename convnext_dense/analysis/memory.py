"""Main memory: what this process may still take, and what it took."""
import sys
from pathlib import Path

CGROUP = Path('/sys/fs/cgroup')


def available_bytes() -> int | None:
    """Memory that a new process can have: the system's, or what a container's limit leaves.

    Returns:
        None where the system does not say (macOS, Windows).
    """
    found = [free for free in (_of_system(), _of_container()) if free is not None]
    return min(found) if found else None


def _of_system():
    try:
        lines = Path('/proc/meminfo').read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines
                    if line.startswith('MemAvailable:'))
    except (OSError, StopIteration):
        return None


def _of_container():
    """Of cgroups, version 2 or 1: the limit without what is taken, files' pages not counted."""
    for of_limit, of_used, of_stat, pages in (
            ('memory.max', 'memory.current', 'memory.stat', 'inactive_file'),
            ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes', 'memory/memory.stat',
             'total_inactive_file')):
        try:
            limit, used = (int((CGROUP / name).read_text()) for name in (of_limit, of_used))
            stat = dict(line.split() for line in (CGROUP / of_stat).read_text().splitlines())
            return max(limit - used + int(stat.get(pages, 0)), 0)
        except (OSError, ValueError):  # no such file, or 'max'
            continue
    return None


def peak_bytes() -> int:
    """The most main memory that this process has held so far."""
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024
