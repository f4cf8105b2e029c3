"""The package's configs by name: from the command line, as a base, and through mmengine."""
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from mmengine.hub import get_config

from convnext_dense.checkpoints.zoo import entries
from convnext_dense.config import load_config
from convnext_dense.config_files import FOLDER, config_names, find_config
from convnext_dense.errors import InputError

CLONE = Path(__file__).resolve().parents[1]
UPERNET = 'upernet_convnext-t_8xb2-amp-160k_ade20k-512x512'
UPERNET_FILE = FOLDER / 'upernet' / f'{UPERNET}.py'


@pytest.mark.parametrize('name', [
    UPERNET, f'{UPERNET}.py', f'upernet/{UPERNET}', f'configs/upernet/{UPERNET}.py',
    f'convnext_dense::upernet/{UPERNET}.py', 'upernet_convnext-t_ade20k', str(UPERNET_FILE)])
def test_a_config_is_found_by_name_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == UPERNET_FILE


def test_a_file_of_the_user_comes_before_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f'{UPERNET}.py').write_text('x = 1')
    assert load_config(f'{UPERNET}.py').x == 1


@pytest.mark.parametrize('name', [
    UPERNET.replace('upernet', 'upernett'), f'mask_rcnn/{UPERNET}', f'/elsewhere/{UPERNET}.py'])
def test_an_unknown_name_suggests_the_nearest(name):
    with pytest.raises(InputError, match=f'no such file.*similar: {UPERNET}'):
        find_config(name)


def test_a_name_like_no_other_says_where_the_names_are():
    with pytest.raises(InputError, match='`convnext-dense list configs` names them'):
        find_config('qqq')


def test_every_config_of_the_clone_and_none_twice_is_in_the_package():
    written = [path for path in (CLONE / 'configs').glob('*/*.py') if path.parent.name != '_base_']
    assert len(config_names()) == len(written) > 40
    assert all(path.samefile(CLONE / 'configs' / path.parent.name / path.name)
               for path in config_names().values())


def test_a_config_derived_from_one_of_the_package_is_that_config(tmp_path):
    """As mmengine reads it, every part of it would be looked up among the toolkit's own classes."""
    path = tmp_path / 'mine.py'
    path.write_text(f"_base_ = 'convnext_dense::upernet/{UPERNET}.py'\n"
                    'model = dict(backbone=dict(drop_path_rate=0.1))\n'
                    'pipeline = _base_.test_pipeline\n')
    mine, published = load_config(path).to_dict(), load_config(UPERNET).to_dict()
    assert mine.pop('pipeline') == published['test_pipeline']
    published['model']['backbone']['drop_path_rate'] = 0.1
    assert mine == published


def test_the_scope_of_another_package_stays(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'\n")
    assert load_config(path).model['_scope_'] == 'mmdet'


def test_mmengine_finds_configs_and_weights_in_a_process_of_its_own(tmp_path):
    entry = entries()['upernet_convnext-t_ade20k']
    code = ('import convnext_dense.registry\nfrom mmengine.hub import get_config\n'
            f'cfg = get_config("convnext_dense::{entry.config}", pretrained=True)\n'
            'print(cfg.filename, cfg.model_path)')
    result = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, check=True,
                            capture_output=True, text=True)
    filename, weights = result.stdout.split()[-2:]
    assert Path(filename).samefile(UPERNET_FILE) and weights == entry.url


def test_a_config_without_weights_is_read_through_mmengine_too():
    name = 'upernet/upernet_convnextv2-t_8xb2-amp-160k_ade20k-512x512.py'
    assert get_config(f'convnext_dense::{name}').to_dict() == \
        Config.fromfile(FOLDER / name).to_dict()


def test_the_index_for_mmengine_lists_the_zoo():
    models = yaml.safe_load((FOLDER / 'metafile.yml').read_text())['Models']
    assert models == [dict(Name=entry.name, Config=f'configs/{entry.config}', Weights=entry.url)
                      for entry in entries().values() if entry.config]
