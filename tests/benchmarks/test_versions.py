"""Two trees take steps in turns, each with its own code."""
import pytest

from benchmarks import versions

ROWS = '''import time
from types import SimpleNamespace
now = [0.]
time.perf_counter = lambda: now[0]
side = SimpleNamespace(step=lambda: now.append(now.pop() + {seconds}))
row = SimpleNamespace(sides=lambda: dict(ours=lambda: side))
def load_rows():
    return {rows}
'''


def tree(folder, seconds=.001, rows="{'toy': row}"):
    (folder / 'benchmarks').mkdir(parents=True)
    (folder / 'benchmarks' / 'rows.py').write_text(ROWS.format(seconds=seconds, rows=rows))
    return folder


def test_the_slower_tree_has_the_greater_time(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, 'REPOSITORY', tree(tmp_path / 'new', .002))
    line = versions.measure('toy', tree(tmp_path / 'old', .03), seconds=0, least_rounds=3)
    assert line == 'toy: 0.03 s -> 0.002 s, 15.00x (15.00-15.00) in 3 rounds'


def test_a_row_of_one_tree_only_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, 'REPOSITORY', tree(tmp_path / 'new'))
    old = tree(tmp_path / 'old', rows='{}')
    assert versions.measure('toy', old, seconds=0) == 'toy: not in both'


def test_a_tree_that_fails_is_named_with_its_error(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, 'REPOSITORY', tree(tmp_path / 'new'))
    with pytest.raises(SystemExit, match='old: (?s:.*)NameError'):
        versions.measure('toy', tree(tmp_path / 'old', rows='nothing'), seconds=0)
