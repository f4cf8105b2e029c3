"""Memory of a process under each strategy, beside the plan."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.sharded_memory import Peak, table


def test_a_line_for_each_strategy():
    assert table([Peak('fsdp', 2, 90., 100.)]).splitlines()[-1] == '| fsdp | 2 | 90 | 100 | 0.90 |'


@pytest.mark.slow
def test_measured_peaks_are_within_15_percent_of_the_plan():
    ran = subprocess.run([sys.executable, '-m', 'benchmarks.sharded_memory'], capture_output=True,
                         text=True, cwd=Path(__file__).parents[2], timeout=1200)
    assert not ran.returncode, ran.stderr[-2000:]
    ratios = [float(ratio) for ratio in re.findall(r'\| ([\d.]+) \|$', ran.stdout, re.M)]
    assert len(ratios) == 5 and all(.85 < ratio < 1.15 for ratio in ratios), ran.stdout
