"""Pausing the measurement of coverage, which makes Python code up to two times slower.

Tests carry pytest-cov's mark ``no_cover``, which reaches neither fixtures nor imports.
"""
from contextlib import contextmanager, suppress
from importlib import import_module


def measurement():
    """The measurement of this process, or None."""
    with suppress(ImportError):
        from coverage import Coverage
        return Coverage.current()


@contextmanager
def uncovered():
    """No line counts as run in this block, in this process."""
    measuring = measurement()
    if measuring:
        measuring.stop()
    try:
        yield
    finally:
        if measuring:
            measuring.start()


def import_libraries():
    """Import what most tests need, unmeasured; without a measurement each test imports its own."""
    if measurement():
        with uncovered():
            for name in ('mmdet.datasets', 'mmdet.models', 'mmseg.models', 'torch._dynamo'):
                import_module(name)
