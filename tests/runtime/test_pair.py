"""Two processes decide together."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from killing import final_state

HERE = Path(__file__).parent


def run(what, folder):
    environment = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='')
    ran = subprocess.run([sys.executable, HERE / 'pair.py', what, folder], env=environment,
                         capture_output=True, text=True)
    assert not ran.returncode, ran.stderr[-3000:]
    log = ''.join(path.read_text() for path in sorted((folder / 'work').glob('*/*.log')))
    return json.loads(ran.stdout.splitlines()[-1]), log


def test_a_bad_loss_of_one_process_makes_all_skip_the_step_and_is_named(tmp_path):
    (one, two), log = run('nan', tmp_path)
    assert one == two  # the weights too
    assert one['skipped'] == 1 and one['status'] == 0
    assert 'the loss of this step is NaN or infinite, first in loss_other' in log


def test_a_signal_to_one_process_stops_all_after_the_same_step(tmp_path):
    (one, two), log = run('signal', tmp_path)
    assert one == two
    assert one['status'] == 143
    assert 'SIGTERM: the state after iteration 4 is in' in log
    assert final_state(tmp_path / 'work')['iter'] == 4


@pytest.mark.slow
def test_a_run_of_one_process_goes_on_with_two(tmp_path):
    (one, two), log = run('resume', tmp_path)
    assert one == two
    assert '1 processes became 2: other rounding and dropped paths' in log
