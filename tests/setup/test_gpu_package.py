"""The GPU's check: what is packed, how parts end, and a rehearsal of its first parts."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools' / 'gpu'))

import check  # noqa: E402
import pack  # noqa: E402


def test_what_the_toolkit_needs_is_packed_and_what_is_there_is_not():
    needed = pack.needed()
    assert {'onedl-mmengine', 'onedl-mmdetection', 'onedl-mmsegmentation', 'msgspec', 'pytest',
            'pycocotools'} <= set(needed)
    assert not set(needed) & pack.PRESENT


@pytest.fixture
def setting(tmp_path):
    return check.Setting(tmp_path, tmp_path, smoke=True)


@pytest.mark.parametrize('code, seconds, end', [
    ('print("done")', 60, 'passed'), ('raise SystemExit(3)', 60, 'failed (3)'),
    ('import time; time.sleep(60)', 1, 'stopped after 1 s')])
def test_a_part_ends_in_its_time_and_says_how(setting, monkeypatch, code, seconds, end):
    part = check.Part('a part', lambda setting: [sys.executable, '-c', code], seconds)
    monkeypatch.setattr(check, 'PARTS', dict(one=part))
    assert check.run('one', setting)['end'] == end
    assert (setting.out / 'one.log').is_file()


def test_a_part_that_is_done_is_not_done_again_unless_it_is_named(setting, monkeypatch):
    ran = []
    monkeypatch.setattr(check, 'run', lambda name, setting: ran.append(name) or dict(end='passed'))
    monkeypatch.setattr(check, 'PARTS', dict(a=None, b=None))
    arguments = ['check.py', '--packages', str(setting.packages), '--out', str(setting.out)]
    for named in ([], [], ['a']):
        monkeypatch.setattr(sys, 'argv', arguments + named)
        assert check.main() == 0
    assert ran == ['a', 'b', 'a']
    assert set(json.loads((setting.out / 'summary.json').read_text())) == {'a', 'b'}


@pytest.mark.slow
def test_the_rehearsal_on_a_cpu(tmp_path):
    """Every part but the building of mmcv, in this environment; about 3 minutes."""
    subprocess.run([sys.executable, str(ROOT / 'tools' / 'gpu' / 'check.py'), '--packages',
                    str(tmp_path), '--out', str(tmp_path), '--smoke', 'checks', 'training',
                    'backbones', 'models', 'kernels'], check=True)
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert {part['end'] for part in summary.values()} == {'passed'}
