"""The notebook of the docs: well-formed, and its cells run from top to bottom on a CPU."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / 'docs/notebooks').glob('*.ipynb'))


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_one_of_format_4_without_outputs(path):
    content = json.loads(path.read_text())
    assert (content['nbformat'], content['metadata']['kernelspec']['name']) == (4, 'python3')
    assert content['cells'][0]['cell_type'] == 'markdown'
    for cell in content['cells']:
        assert all(line.endswith('\n') for line in cell['source'][:-1])
        if cell['cell_type'] == 'code':
            assert cell['outputs'] == [] and cell['execution_count'] is None
            compile(''.join(cell['source']), path.name, 'exec')


def test_the_first_model_runs_from_top_to_bottom(tmp_path):
    """With 2 steps, where the notebook takes 300."""
    ran = subprocess.run(
        [sys.executable, ROOT / 'tests/docs/run_cells.py',
         ROOT / 'docs/notebooks/first-model.ipynb'], cwd=tmp_path, text=True, capture_output=True,
        env=dict(os.environ, STEPS='2', PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1',
                 CUDA_VISIBLE_DEVICES=''), check=False)
    assert not ran.returncode, ran.stderr[-2000:]
    *printed, shown = ran.stdout.splitlines()
    assert json.loads(shown) == [None, 'Image', None, 'str', 'Image', 'dict', None]
    text = '\n'.join(printed)
    assert re.search(r'^mIoU \d+\.\d$', text, re.M)
    assert re.search(r'^ConvNeXt: \d\.\d\d M parameters, .* G multiply-adds, mIoU', text, re.M)
    assert re.search(r'^Swin minus ConvNeXt: -?\d+\.\d points, .*; verdict: one seed', text, re.M)
    for name in ('convnext', 'swin'):
        assert (tmp_path / f'work_dirs/upernet_{name}_short_shapes/report.html').is_file()
