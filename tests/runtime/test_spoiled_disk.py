"""A disk that fills up or vanishes under a run: one line, nothing lost."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOLD = {'full': 'free some space there', 'full at the start': 'free some space there',
        'full while drawing': 'vis_image/val_4.png cannot be written',
        'removed': 'is gone; make it again', 'unmounted': 'is gone; make it again',
        'removed while drawing': 'vis_image is gone; make it again'}


def test_a_spoiled_disk_ends_a_run_in_one_line(tmp_path):
    """Log lines, curves and checkpoints on real file systems, where the machine lets one mount."""
    if subprocess.run(['unshare', '-m', 'mount', '-t', 'tmpfs', 'tmpfs', tmp_path],
                      capture_output=True).returncode:
        pytest.skip('mounting is not allowed here')
    ran = subprocess.run(
        ['unshare', '-m', sys.executable, HERE / 'spoiled_disk.py', tmp_path], text=True,
        capture_output=True, timeout=300,
        env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join(
            map(str, [HERE.parents[1], HERE.parent, HERE]))))
    assert not ran.returncode, ran.stderr
    cases = json.loads(ran.stdout.splitlines()[-1])
    assert set(cases) == set(TOLD)
    for name, case in cases.items():
        assert case['status'] == 2, (name, case)
        assert 'Traceback' not in case['printed'] and 'Logging error' not in case['printed'], name
        errors = [line for line in case['printed'].splitlines() if line.startswith('error: ')]
        assert len(errors) == 1 and TOLD[name] in errors[0], (name, errors)
        assert case['whole'] and case['after'][0] == 0, (name, case['after'])
        if name in ('full', 'full while drawing'):  # the others lost the folder, or had not begun
            assert 'iter_4.pth: epoch 0, iteration 4' in case['after'][1], name
