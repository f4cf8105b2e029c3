"""The number of cores."""
import os
from pathlib import Path

import convnext_dense
from convnext_dense.cores import core_count


def test_the_cores_that_the_process_was_bound_to_count(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {3, 5}, raising=False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 64)
    assert core_count() == 2


def test_a_system_without_binding_gives_all_cores_and_at_least_one(monkeypatch):
    monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    assert core_count() == 8
    monkeypatch.setattr(os, 'cpu_count', lambda: None)
    assert core_count() == 1


def test_no_other_file_asks_the_system():
    package = Path(convnext_dense.__file__).parent
    asking = [str(path.relative_to(package)) for path in package.rglob('*.py')
              if 'sched_getaffinity' in path.read_text() or 'cpu_count' in path.read_text()]
    assert asking == ['cores.py']
