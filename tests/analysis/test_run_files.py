"""A work directory from elsewhere, or of a killed run: data that is read as far as it goes."""
import json
import os

import pytest
from example_results import annotations, detections, write_work_dir

from convnext_dense.analysis.comparison import gather
from convnext_dense.analysis.comparison_table import markdown
from convnext_dense.analysis.run_files import read_config, read_curves, read_results, read_seconds
from convnext_dense.cli import main
from convnext_dense.errors import InputError

TRUTH = annotations(images=4)
EVALUATION = '20260101_000000/evaluation/'
SCALARS = '20260101_000000/vis_data/scalars.json'


@pytest.fixture
def work_dir(tmp_path):
    return write_work_dir(tmp_path / 'run', 'tiny', detections(TRUTH), TRUTH)


def error_of(call, *arguments):
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('text, told', [
    ("open('ran', 'w')", 'has code'), ("model = __import__('os').mkdir('ran')", 'has code'),
    ("_base_ = ['other.py']", 'has no model'), ("model = 5", 'has no model'), ('(', 'was never'),
    ("model = dict(type='os.mkdir', path='ran')", "'os.mkdir' is registered by none of"),
    ("default_scope = 'antigravity'\nmodel = dict(type='ResNet')", 'default_scope'),
    ("model = dict(type='mmdet.FCOS', nms=dict(type='__import__(\"os\")'))", 'could run')])
def test_no_code_of_a_work_directory_runs(work_dir, text, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (work_dir / 'tiny.py').write_text(text)
    assert told in error_of(read_config, work_dir / 'tiny.py')
    assert main(['compare', str(work_dir), '--out', 'report', '--no-static']) == 2
    assert capsys.readouterr().err.count('\n') == 1
    assert not (tmp_path / 'ran').exists() and not (tmp_path / 'report').exists()


def test_torn_and_odd_lines_of_the_log_are_passed_over(work_dir):
    whole = read_curves(work_dir), read_seconds(work_dir)
    with open(work_dir / SCALARS, 'ab') as file:
        file.write(b'\n'.join([
            b'5', b'null', b'[]', b'{"loss": 1.0}', b'{"step": "a", "loss": 1}', b'\xff\xfe',
            b'{"step": 7, "loss": "x"}', b'{"step": true, "loss": 9}', b'{"step": [], "loss": 1}',
            b'{"step": 8, "loss": NaN, "time": Infinity}', b'{"step": -3, "loss": 1}',
            b'[' * 100_000, b'{"loss": 0.5, "ti']))
    assert (read_curves(work_dir), read_seconds(work_dir)) == whole


@pytest.mark.parametrize('change', [
    lambda report: [], lambda report: 5, lambda report: dict(report, format=None),
    lambda report: dict(report, evaluations=[1]), lambda report: dict(report, evaluations=None),
    lambda report: dict(report, annotations=None), lambda report: dict(report, annotations=''),
    lambda report: dict(report, evaluations=dict(bbox=5)),
    lambda report: dict(report, evaluations=dict(bbox=dict(detections=7))),
    lambda report: dict(report, evaluations=dict(bbox=dict(detections='../../../secret'))),
    lambda report: dict(report, image_ids='abc'), lambda report: dict(report, image_ids=[[]]),
    lambda report: dict(report, categories=[1, 2]), lambda report: dict(report, categories={}),
    lambda report: {}, lambda report: dict(format=report['format'])])
def test_an_odd_summary_is_one_line(work_dir, change):
    path = work_dir / EVALUATION / 'detection.json'
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    try:
        read_results(path)
    except InputError as error:
        assert str(path.parent) in str(error) and '\n' not in str(error)


@pytest.mark.parametrize('content', ['', '{', '[' * 100_000, '\0', '{"format": 1} x'])
def test_a_torn_summary_is_one_line(work_dir, content):
    path = work_dir / EVALUATION / 'detection.json'
    path.write_text(content)
    assert str(path) in error_of(read_results, path)


def test_links_that_lead_nowhere_are_one_line(work_dir):
    os.symlink('nowhere', work_dir / 'other.py')
    assert str(work_dir) in error_of(gather, [work_dir])


def test_names_do_not_change_what_a_table_shows():
    text = markdown(['a|b'], [['<script>', ], ['x\n| y |', ], ['\x1b[31m', ]])
    assert text.splitlines() == ['| a\\|b |', '| --- |', '| &lt;script> |', '| x\\n\\| y \\| |',
                                 '| \\x1b[31m |']
