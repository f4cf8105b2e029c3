"""The set-up's decisions, on folders that the test makes; no package is installed here."""
import importlib.util
import sys
from pathlib import Path

import pytest

SETUP = Path(__file__).resolve().parents[2] / 'tools' / 'setup'


def load(name):
    spec = importlib.util.spec_from_file_location(name, SETUP / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def install(monkeypatch, tmp_path):
    module = load('install')
    monkeypatch.setattr(module, 'VENV', tmp_path / '.venv')
    monkeypatch.setattr(module, 'STAMP', tmp_path / 'installed.json')
    return module


@pytest.mark.parametrize('original, maintained', [
    ('mmcv', 'onedl-mmcv'), ('mmcv-lite', 'onedl-mmcv'), ('mmdet', 'onedl-mmdetection'),
    ('mmsegmentation', 'onedl-mmsegmentation'), ('mmengine', 'onedl-mmengine')])
def test_an_environment_with_an_original_distribution_is_refused(install, original, maintained):
    with pytest.raises(SystemExit) as error:
        install.refuse_originals({original: '2.1.0', maintained: '2.3.6'})
    message = str(error.value)
    assert original in message and maintained in message and 'pip uninstall' in message


def test_the_maintained_distributions_are_fine(install):
    install.refuse_originals({name: '1' for name in install.ORIGINALS.values()})


def test_the_set_up_is_current_until_an_input_changes(install, monkeypatch):
    wanted = install.fingerprint(['test'])
    assert not install.is_current(wanted)
    import json
    install.STAMP.write_text(json.dumps(install.fingerprint(['test', 'peers'])))
    assert install.is_current(wanted)
    assert not install.is_current(install.fingerprint(['dev']))
    monkeypatch.setenv('TORCH_INDEX', 'https://example.org')
    assert not install.is_current(install.fingerprint(['test']))
    monkeypatch.delenv('TORCH_INDEX')
    monkeypatch.setattr(sys, 'version_info', (3, 12, 99))
    assert not install.is_current(install.fingerprint(['test']))


def test_a_torn_stamp_sets_up_again(install):
    install.STAMP.write_text('{"inputs": "ab')
    assert not install.is_current(install.fingerprint([]))
    assert install.installed_before()['extras'] == []


def test_another_python_is_refused(install, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'version_info', (3, 9, 18))
    monkeypatch.setattr(sys, 'argv', ['install.py'])
    with pytest.raises(SystemExit, match='3.10 to 3.12'):
        install.main()


def test_what_is_pinned_is_what_setup_cfg_allows(install):
    from configparser import ConfigParser

    from packaging.requirements import Requirement
    parser = ConfigParser()
    parser.read(SETUP.parents[1] / 'setup.cfg')
    requirements = [parser['options']['install_requires'],
                    *parser['options.extras_require'].values()]
    checked = 0
    for line in '\n'.join(requirements).splitlines():
        if line.strip() and not line.startswith('#'):
            requirement = Requirement(line)
            assert install.pinned(requirement.name) in requirement.specifier, line
            checked += 1
    assert checked > 10


def test_a_wheel_of_other_operators_is_another_wheel(monkeypatch):
    torch = pytest.importorskip('torch')
    mmcv_wheel = load('mmcv_wheel')
    for name in ('FORCE_CUDA', 'TORCH_CUDA_ARCH_LIST'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    plain = mmcv_wheel.cache_key('2.0')
    assert 'cuda' not in plain
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setenv('FORCE_CUDA', '1')
    monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', '9.0;10.0+PTX')
    assert mmcv_wheel.cache_key('2.0') == f'{plain}-cuda13.0-9.0-10.0+PTX'
    monkeypatch.delenv('TORCH_CUDA_ARCH_LIST')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda number: (8, 6))
    assert mmcv_wheel.cache_key('2.0') == f'{plain}-cuda13.0-8.6'



def test_grouping_includes_every_source_once_and_leaves_the_awkward_ones_alone(tmp_path):
    mmcv_wheel = load('mmcv_wheel')
    (tmp_path / 'cpu').mkdir()
    names = ['nms.cpp', 'pybind.cpp', 'cpu/nms.cpp', 'cpu/roi_align_rotated.cpp',
             *(f'op{i}.cpp' for i in range(9))]
    for name in names:
        (tmp_path / name).write_text(f'// {name}')
    mmcv_wheel.group_sources(tmp_path, count=3)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*.cpp')}
    assert left == {'pybind.cpp', 'cpu/roi_align_rotated.cpp', 'group_0.cpp', 'group_1.cpp',
                    'group_2.cpp'}
    included = [line.split('"')[1] for path in tmp_path.glob('group_*.cpp')
                for line in path.read_text().splitlines() if line.endswith('.inc"')]
    assert sorted(included) == sorted(f'{name}.inc' for name in names if name not in left)
    assert all((tmp_path / name).is_file() for name in included)


def test_a_kept_wheel_is_reused_and_a_wheel_without_operators_refused(tmp_path, monkeypatch):
    from zipfile import ZipFile
    mmcv_wheel = load('mmcv_wheel')
    made = []

    def fake_build(version, work):
        wheel = work / f'onedl_mmcv-{version}-cp311-cp311-linux_x86_64.whl'
        with ZipFile(wheel, 'w') as archive:
            archive.writestr('mmcv/__init__.py', '')
            if version == '2.0':
                archive.writestr('mmcv/_ext.so', '')
        made.append(version)
        return wheel

    monkeypatch.setattr(mmcv_wheel, 'build_from_source', fake_build)
    first = mmcv_wheel.provide('2.0', tmp_path)
    assert mmcv_wheel.provide('2.0', tmp_path) == first and made == ['2.0']
    with pytest.raises(SystemExit, match='no compiled operators.*g\\+\\+'):
        mmcv_wheel.provide('1.0', tmp_path)
    assert not list(tmp_path.rglob('*1.0*.whl'))


def test_a_failed_grouped_build_falls_back_to_the_plain_one(tmp_path, monkeypatch):
    import subprocess
    mmcv_wheel = load('mmcv_wheel')
    source = tmp_path / 'source'
    (source / 'mmcv/ops/csrc/pytorch/cpu').mkdir(parents=True)
    (source / 'mmcv/ops/csrc/pytorch/nms.cpp').write_text('')
    built = []

    def fake_build(folder, out):
        built.append(sorted(path.name for path in folder.rglob('*.cpp')))
        if len(built) == 1:
            raise subprocess.CalledProcessError(1, 'pip')
        out.mkdir()
        (out / 'onedl_mmcv.whl').write_text('')

    monkeypatch.setattr(mmcv_wheel, 'fetch_source', lambda version, work: source)
    monkeypatch.setattr(mmcv_wheel, 'build', fake_build)
    assert mmcv_wheel.build_from_source('2.0', tmp_path).name == 'onedl_mmcv.whl'
    assert 'group_0.cpp' in built[0] and built[1] == ['nms.cpp']
