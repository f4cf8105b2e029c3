"""`convnext-dense doctor`: finds nothing here, and what is made wrong."""
import importlib.metadata
import json
import shutil
from collections import namedtuple

import pytest
import torch

from convnext_dense.analysis import health
from convnext_dense.cli import main


def states(capsys, *arguments):
    """{subject: finding} and the exit status."""
    status = main(['doctor', '--json', *arguments])
    return {found['subject']: found for found in json.loads(capsys.readouterr().out)}, status


def test_a_working_environment_is_good(capsys):
    found, status = states(capsys)
    assert status == 0 and 'bad' not in {finding['state'] for finding in found.values()}
    assert f'torch {torch.__version__}' in found['packages']['found']
    assert 'forward and backward pass' in found['self-test']['found']
    assert {'compiled operators', 'GPU', 'processor', 'work directories'} <= set(found)


def test_text_has_a_line_for_each_finding(capsys, monkeypatch):
    monkeypatch.setattr(health, 'examine', lambda config: [
        health.Finding('memory', 'warning', '1.0 GiB free', 'close other programs'),
        health.Finding('GPU', 'good', 'none')])
    assert main(['doctor']) == 0
    assert capsys.readouterr().out.splitlines() == [
        '!  memory: 1.0 GiB free', '   -> close other programs', 'ok GPU: none']


def test_an_original_package_is_named_with_the_command_that_removes_it(monkeypatch):
    Dist = namedtuple('Dist', 'metadata')
    monkeypatch.setattr(importlib.metadata, 'distributions', lambda: [Dist({'Name': 'mmdet'})])
    finding = {found.subject: found for found in health.versions()}['original packages']
    assert finding.state == 'bad' and 'pip uninstall mmdet' in finding.advice


def test_operators_that_were_not_compiled_are_bad(monkeypatch):
    import mmcv.ops

    def nms(*arguments):
        raise ModuleNotFoundError("No module named 'mmcv._ext'")

    monkeypatch.setattr(mmcv.ops, 'nms', nms)
    finding = health.operators()
    assert finding.state == 'bad' and 'mmcv._ext' in finding.found and finding.advice


@pytest.mark.parametrize('free, state', [(2**40, 'good'), (2**26, 'warning')])
def test_little_shared_memory_and_disk_are_warnings(monkeypatch, free, state):
    usage = namedtuple('Usage', 'total used free')(free, 0, free)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    found = [*health.memory(), *health.folders()]
    assert {finding.state for finding in found if finding.subject != 'memory'} == {state}


def test_the_data_of_a_config_is_looked_for(capsys, tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text("train_dataloader = dict(dataset=dict(type='X', "
                      f"data_root={str(tmp_path / 'pets')!r}))")
    found, status = states(capsys, str(config))
    assert status == 1 and found['data']['state'] == 'bad'
    assert '--data-root' in found['data']['advice']
    (tmp_path / 'pets').mkdir()
    assert states(capsys, str(config))[1] == 0
    assert states(capsys, 'no_such.py')[0]['config']['state'] == 'bad'


def test_gradients_that_are_not_finite_fail_the_self_test(monkeypatch):
    from convnext_dense.models import ConvNeXt
    monkeypatch.setattr(ConvNeXt, 'forward', lambda self, x: [
        sum(p.sum() for p in self.parameters()) * float('nan')])
    assert health.self_test().state == 'bad'
