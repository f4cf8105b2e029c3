"""The benchmark of annotations at the start: its data set, and both of its forms on a small one."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import annotation_start

ROOT = Path(__file__).parents[2]


def test_every_box_lies_in_an_image_of_the_file(tmp_path):
    path = tmp_path / 'train.json'
    annotation_start.write_annotations(path, 20, 300, np.random.default_rng(0))
    content = json.loads(path.read_text())
    assert (len(content['images']), len(content['annotations'])) == (20, 300)
    images = {image['id'] for image in content['images']}
    assert {one['image_id'] for one in content['annotations']} <= images
    for left, top, width, height in (one['bbox'] for one in content['annotations']):
        assert left + width < annotation_start.SIZE and top + height < annotation_start.SIZE


@pytest.mark.slow
@pytest.mark.parametrize('whole, rows', [
    ((), ['4000 | 1', '4000 | 2']),
    (('--whole',), ['40 | 1', '4000 | 1', 'the difference | 1',
                    '40 | 2', '4000 | 2', 'the difference | 2'])])
def test_starts_are_measured(whole, rows):
    result = subprocess.run(
        [sys.executable, '-m', 'benchmarks.annotation_start', *whole, '--annotations', '4000',
         '--images', '400', '--processes', '1', '2'], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    table = [line for line in result.stdout.splitlines() if line.startswith('| ')]
    assert [line[2:].rpartition(' | ')[0].rsplit(' | ', 2)[0] for line in table[1:]] == rows
    assert all(float(line.split(' | ')[2]) > 0 for line in table[1:] if 'difference' not in line)
