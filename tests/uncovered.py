"""Pausing the measurement of coverage, which makes Python code two to four times slower.

Tests carry pytest-cov's mark ``no_cover``, which does not reach their fixtures.
"""
from contextlib import contextmanager


@contextmanager
def uncovered():
    """No line counts as run in this block, in this process."""
    try:
        from coverage import Coverage
        measuring = Coverage.current()
    except ImportError:
        measuring = None
    if measuring is None:
        yield
        return
    measuring.stop()
    try:
        yield
    finally:
        measuring.start()
