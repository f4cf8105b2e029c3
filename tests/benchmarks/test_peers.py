"""The benchmark's own code: rounds, comparisons, memory and the table."""
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import measuring, peers
from benchmarks.packages import MissingPackage
from benchmarks.rows import Row, Side, load_rows

ROOT = Path(__file__).parents[2]


class Clock:
    """Stands still but for the steps of a row, which take exactly so long, and for being read."""

    def __init__(self):
        self.now = 0.

    def sleep(self, seconds):
        self.now += seconds

    def perf_counter(self):
        self.now += 1e-6
        return self.now


def toy_row(time=time, **settings):
    def missing():
        raise MissingPackage('nobody is not installed (extra: peers)')
    sides = {'ours': lambda: Side(lambda: time.sleep(.001), lambda: dict(y=torch.ones(3))),
             'slow': lambda: Side(lambda: time.sleep(.004), lambda: dict(y=torch.ones(3) + 1e-5)),
             'nobody': missing}
    return Row('toy', 'Sleeping', lambda: sides, 'slow', **settings)


def test_a_row_is_compared_timed_in_turns_and_rendered(monkeypatch):
    lines, clock = [], Clock()
    monkeypatch.setattr(measuring, 'time', clock)
    result = peers.run_row(toy_row(clock, bar=2., fastest_bar=1.), .05, lines.append)
    assert 'toy: without nobody: nobody is not installed (extra: peers)' in lines
    assert result['same'] == {'slow': '1 tensors within 1.0e-05 of their largest value'}
    assert result['rounds'] == 10 and result['matrix_rate'] > 1e8
    slow = result['sides']['slow']
    assert [slow[key] for key in ('least', 'ratio', 'greatest')] == pytest.approx([4] * 3, rel=.01)
    assert (result['fastest']['peer'], result['fastest']['ours']) == ('slow', 'ours')
    result['sides']['ours']['memory'], slow['memory'] = 10., 20.
    table = peers.render({'toy': result}).splitlines()
    assert [row.split(' | ')[0] for row in table] == ['| work', '|---|---|---|---|---|---|---|',
                                                      '| Sleeping', '| ']
    assert ' | 2.0 | 10, 20 | 0.00 |' in table[2]
    assert 'fastest of ours (ours) and of the peers (slow)' in table[3]


def test_outputs_that_differ_stop_the_row():
    with pytest.raises(measuring.Differs, match='toy: ours and slow: y differs by 1e-05'):
        peers.run_row(toy_row(tolerance=1e-6), 0., lambda line: None)
    nan = dict(y=torch.tensor([1., float('nan')]))
    with pytest.raises(measuring.Differs):
        measuring.compare_tensors(nan, dict(y=torch.ones(2)), 1e-3)
    with pytest.raises(measuring.Differs, match='shapes'):
        measuring.compare_tensors(dict(y=torch.ones(3)), dict(y=torch.ones(2)), 1e-3)
    with pytest.raises(measuring.Differs, match='outputs are'):
        measuring.compare_tensors(dict(x=torch.ones(2)), dict(y=torch.ones(2)), 1e-3)


def test_operations_are_those_of_the_products():
    a, b = torch.rand(4, 5), torch.rand(5, 6)
    operations, product = measuring.count_operations(lambda: a @ b)
    assert operations == 2 * 4 * 5 * 6 and torch.equal(product, a @ b)


@pytest.mark.parametrize('layer', [torch.nn.Conv2d(4, 4, 3, padding=1, groups=4),
                                   torch.nn.Conv2d(4, 6, 3), torch.nn.ConvTranspose2d(4, 6, 2, 2)])
def test_the_gradients_of_a_convolution_take_twice_its_operations(layer):
    x = torch.rand(2, 4, 8, 8, requires_grad=True)
    forward, y = measuring.count_operations(lambda: layer(x))
    assert measuring.count_operations(lambda: y.sum().backward())[0] == 2 * forward > 0


PEAK = """
import torch
from benchmarks import measuring
from benchmarks.rows import Row, Side

def step():
    torch.ones(2**24).add_(1)  # 64 MiB

print(measuring.peak(Row('toy', 'Toy', lambda: {'ours': lambda: Side(step)}, ''), 'ours'))
"""


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
def test_peak_memory_is_that_of_the_steps():
    # in a process of its own, as the benchmark does: what other tests left counts in this one
    found = subprocess.run([sys.executable, '-c', PEAK], cwd=ROOT, capture_output=True, text=True,
                           check=True)
    assert 60 < float(found.stdout) < 90


def test_every_row_has_ours_first_and_its_peer():
    rows = load_rows()
    assert {'backbone-v1-training', 'cascade-training', 'upernet-training'} <= rows.keys()
    for row in rows.values():
        sides = list(row.sides())
        assert sides[0] == 'ours' and row.peer in sides


def test_results_are_kept_and_the_docs_get_the_table(tmp_path, monkeypatch, capsys):
    out, docs = tmp_path / 'results.json', tmp_path / 'speed.md'
    docs.write_text(f'before\n{peers.BEGIN}\nold\n{peers.END}\nafter\n')
    other = peers.run_row(toy_row(), 0., lambda line: None)
    out.write_text(json.dumps(dict(rows=dict(other=dict(other, title='Kept')))))
    monkeypatch.setattr(peers, 'load_rows', lambda: {'toy': toy_row(), 'other': toy_row()})
    monkeypatch.setattr(sys, 'argv', ['peers', 'toy', '--measure', 'time', '--seconds', '0',
                                      '--out', str(out), '--docs', str(docs)])
    peers.main()
    saved = json.loads(out.read_text())
    assert set(saved['rows']) == {'toy', 'other'} and saved['machine']['cores'] >= 1
    assert 'Kept' in capsys.readouterr().out
    text = docs.read_text()
    assert text.startswith('before\n') and text.endswith('after\n') and 'old' not in text
    assert 'Sleeping' in text and 'Kept' in text


def test_an_unknown_row_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['peers', 'nothing'])
    with pytest.raises(SystemExit, match='no row nothing; there are'):
        peers.main()


def test_the_clock_of_the_processor_leaves_out_what_others_take():
    seconds = measuring.timed(lambda: time.sleep(.05), 'cpu')
    assert seconds < .02 and measuring.timed(lambda: time.sleep(.05)) >= .05
