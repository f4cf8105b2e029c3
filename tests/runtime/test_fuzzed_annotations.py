"""Whatever a COCO file holds: train, test, check and audit give a run or one line, and agree.

300 files, each with one to three changes of the kinds that tools and people make. Where the audit
says that the run can start, it starts; what the fast check refuses, the audit refuses.
"""
import copy
import json
import shutil
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from test_fuzzed_data import VALUES, base_config, one_thread, shapes  # noqa: F401
from tiny import detector_config

from convnext_dense.checks.audit_config import audit, summary
from convnext_dense.checks.preflight import check_config
from convnext_dense.config import set_data_root
from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner

COMMON = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
SHORT = settings(COMMON, max_examples=12)
LONG = settings(COMMON, max_examples=300)

FIELDS = dict(
    images=('id', 'file_name', 'width', 'height'), categories=('id', 'name'),
    annotations=('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd', 'ignore',
                 'segmentation'))
ODD = st.one_of(
    VALUES, st.sampled_from([
        '1', '64', 0, -1, 1.0, 2**53 + 1, 2**70, float('nan'), True, [], {}, [[]], 'disc',
        [0, 0, 0, 0], [.1, .1, .5, .5], ['1', 1, 9, 9], [1, 1, 9], [-5, -5, 900, 900],
        [[1, 1, 9, 1, 9, 9]], [1, 1, 9, 1, 9, 9], dict(size=[64, 64], counts=[4096]),
        dict(size=[64, 64], counts=[1, 2]), dict(size=[10**6, 10**6], counts='x'),
        [[1, 1, 10**12, 1, 9, 9]]]))


def mutate(data, content):
    """Change a field of one entry or of all, or the lists themselves, once to three times."""
    for _ in range(data.draw(st.integers(1, 3))):
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
            remove = data.draw(st.integers(0, 3)) == 0
            for entry in entries if what == 'all' else [data.draw(st.sampled_from(entries))]:
                if isinstance(entry, dict):
                    entry.pop(field, None) if remove else entry.update({field: value})


def outcome(call):
    """None, or the one line of the refusal."""
    try:
        call()
    except InputError as error:
        assert '\n' not in str(error)
        return str(error)
    return None


def run(config, training):
    """What ``tools/train.py`` and ``tools/test.py`` do."""
    config.experiment_name = f'run_{uuid.uuid4().hex}'
    runner = Runner.from_cfg(config)
    runner.train() if training else runner.test()


def judge(root, folder, data):
    """Check, audit and run with one changed annotation file; returns the three answers."""
    changed = Path(shutil.copytree(root, folder / f'data_{uuid.uuid4().hex}'))
    training = data.draw(st.booleans())
    path = changed / f'annotations/instances_{"training" if training else "validation"}.json'
    content = json.loads(path.read_text())
    mutate(data, content)
    path.write_text(json.dumps(content))
    config = copy.deepcopy(base_config(detector_config, root))
    config.work_dir = str(folder)
    set_data_root(config, changed)
    unused = ('test_dataloader', 'test_evaluator', 'test_cfg') if training else (
        'train_dataloader', 'train_cfg', 'optim_wrapper')
    for key in unused:
        config[key] = None
    try:
        reports, findings, notes = audit(copy.deepcopy(config), progress=False)
        fine = summary(reports, findings, notes)[1]
        checked = outcome(lambda: check_config(copy.deepcopy(config), training))
        ran = checked or outcome(lambda: run(config, training))
    finally:
        shutil.rmtree(changed)
    assert not (fine and checked), f'the audit finds nothing, the check: {checked}'
    assert not (fine and ran), f'the audit finds nothing, the run: {ran}'
    return fine, checked, ran


@pytest.mark.parametrize('size', [SHORT, pytest.param(LONG, marks=pytest.mark.slow)],
                         ids=['short', 'long'])
def test_every_file_gives_a_run_or_one_line(size, shapes, tmp_path):  # noqa: F811
    answers = []

    @seed(20261126)
    @size
    @given(st.data())
    def judge_all(data):
        answers.append(judge(shapes, tmp_path, data))
    judge_all()
    started = sum(ran is None for _, _, ran in answers)
    print(f'{len(answers)} files: {started} ran, {len(answers) - started} were refused in '
          f'{len({ran for _, _, ran in answers})} ways')
    assert 0 < started < len(answers)
