"""The gain is a ratio of times of the same product."""
from convnext_dense import bfloat16_gain as module

measure = module.bfloat16_gain.__wrapped__  # tests see a CPU without units for it, see conftest.py


def test_equal_times_are_a_gain_of_one(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(module.time, 'perf_counter', lambda: next(clock))
    assert measure(2) == 1.


def test_it_is_measured_on_this_machine():
    assert 0 < measure(1) < 100
