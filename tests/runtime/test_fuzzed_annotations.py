"""Whatever a COCO file holds, every command gives a run or one line, and they agree.

300 files, each with one to three changes of the kinds that tools and people make. Where check-data
says that training can start, it starts; what the fast check refuses, check-data refuses.
"""
import copy
import json
import shutil
import uuid
from pathlib import Path

import pytest
from fuzzing import VALUES, Verdicts, fuzzed
from hypothesis import given
from hypothesis import strategies as st
from test_fuzzed_settings import config_of
from tiny import detector_config

from convnext_dense.config import set_data_root

FIELDS = dict(
    images=('id', 'file_name', 'width', 'height', 'license', 'date_captured'),
    categories=('id', 'name', 'supercategory'),
    annotations=('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd', 'ignore',
                 'segmentation', 'attributes'))
ODD = st.one_of(
    VALUES, st.sampled_from([
        '1', '64', 0, -1, 1.0, 2**53 + 1, 2**70, float('nan'), True, [], {}, [[]], 'disc',
        [0, 0, 0, 0], [.1, .1, .5, .5], ['1', 1, 9, 9], [1, 1, 9], [-5, -5, 900, 900],
        [[1, 1, 9, 1, 9, 9]], [1, 1, 9, 1, 9, 9], dict(size=[64, 64], counts=[4096]),
        dict(size=[64, 64], counts=[1, 2]), dict(size=[10**6, 10**6], counts='x'),
        [[1, 1, 10**12, 1, 9, 9]]]))


def mutate(data, content):
    """Change a field of one entry or of all, or the lists themselves, once to three times."""
    for _ in range(data.draw(st.sampled_from([1, 1, 1, 2, 3]))):
        key = data.draw(st.sampled_from(['images', 'annotations', 'annotations', 'categories']))
        what = data.draw(st.sampled_from(['field'] * 6 + ['all', 'entry', 'twice', 'list', 'top']))
        entries = content.get(key)
        if what == 'top' or not isinstance(entries, list) or not entries:
            content[data.draw(st.sampled_from([key, 'info', 'licenses']))] = data.draw(ODD)
        elif what == 'list':
            content[key] = entries[:data.draw(st.integers(0, 2))]
        elif what == 'entry':
            entries[data.draw(st.integers(0, len(entries) - 1))] = data.draw(ODD)
        elif what == 'twice':
            entries.append(copy.deepcopy(entries[0]))
        else:
            field, value = data.draw(st.sampled_from(FIELDS[key])), data.draw(ODD)
            remove = data.draw(st.booleans())  # much of what is missing can be computed
            for entry in entries if what == 'all' else [data.draw(st.sampled_from(entries))]:
                if isinstance(entry, dict):
                    entry.pop(field, None) if remove else entry.update({field: value})


@pytest.mark.parametrize('number', [5, pytest.param(300, marks=pytest.mark.slow)])
def test_every_file_gives_a_run_or_one_line(number, tiny_shapes, tmp_path, many_runs):
    base = config_of(detector_config, tiny_shapes, tmp_path / 'work')
    verdicts = Verdicts(base)

    @fuzzed(number)
    @given(st.data())
    def judge_all(data):
        changed = Path(shutil.copytree(tiny_shapes, tmp_path / uuid.uuid4().hex))
        name = data.draw(st.sampled_from(['training', 'training', 'validation']))
        path = changed / f'annotations/instances_{name}.json'
        content = json.loads(path.read_text())
        mutate(data, content)
        path.write_text(json.dumps(content))
        config = copy.deepcopy(base)
        set_data_root(config, changed)
        verdicts.add(config, content)
        shutil.rmtree(changed)
    judge_all()
    verdicts.conclude()
