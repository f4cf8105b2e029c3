"""Every published row has one config, and a config's name says what is in it."""
import re
from collections import Counter

import pytest
from config_files import ADE20K, COCO, CONVNEXT, FILES, NAMES, RESNET, SWIN, V2, config, row
from mmengine.config import Config

from convnext_dense.published import published_rows

# the two rows whose names in the table are not the names of their files
RESNEXTS = {'resnet-50': 'r50', 'resnext101-32x4d': 'x101-32x4d', 'resnext101-64x4d': 'x101-64x4d'}


def test_every_published_row_has_exactly_one_config():
    named = Counter(config(name).published for name in FILES if config(name).published)
    assert set(named) == set(published_rows())
    assert set(named.values()) == {1}


def test_the_tables_have_their_configs():
    def count(names, models):
        return len([name for name in names if name in models])
    assert [count(COCO, group) for group in (CONVNEXT, SWIN, RESNET, V2)] == [7, 7, 3, 3]
    assert [count(ADE20K, group) for group in (CONVNEXT, SWIN, RESNET, V2)] == [6, 5, 0, 4]
    assert len(COCO) + len(ADE20K) == len(NAMES) == 35


@pytest.mark.parametrize('name', [name for name in NAMES if name not in V2])
def test_the_name_of_a_file_says_which_row_it_is(name):
    head, _, backbone = row(name)['name'].partition('_')
    backbone = RESNEXTS.get(backbone, backbone)
    backbone += '-in22k' if row(name)['pretrain'] == 'in22k' else ''
    head = {'cascade': 'cascade-mask-rcnn'}.get(head, head)
    amp = 'amp-' if config(name).optim_wrapper.type == 'AmpOptimWrapper' else ''
    expected = {
        'mask-rcnn': f'{head}_{backbone}_fpn_{amp}ms-crop-3x_coco',
        'cascade-mask-rcnn': f'{head}_{backbone}_fpn_giou-4conv1fc_{amp}ms-crop-3x_coco',
        'upernet': f'{head}_{backbone}_8xb2-{amp}160k_ade20k-{0}x{0}'.replace(
            '0x0', '{0}x{0}').format(row(name).get('crop')),
    }[head]
    assert name == expected


@pytest.mark.parametrize('name', V2)
def test_recipes_of_this_project_say_so(name):
    cfg = config(name)
    assert cfg.recipe == 'convnext_dense'
    assert FILES[name].read_text().startswith('"""A recipe of this project')
    if cfg.published:
        assert cfg.published.startswith('v2_dense/')
        assert row(name)['pretrain'].startswith('fcmae')


@pytest.mark.parametrize('name', [name for name in NAMES if name not in V2])
def test_published_recipes_are_not_marked_as_our_own(name):
    assert 'recipe' not in config(name)


@pytest.mark.parametrize('name', FILES)
def test_a_row_takes_one_base_of_each_kind_or_says_what_differs_from_another_row(name, tmp_path):
    text = FILES[name].read_text()
    assert len(text.splitlines()) <= 30
    kinds = re.findall(r"'\.\./_base_/(\w+)/[\w-]+\.py'", text)
    if '_base_ = [' in text:
        assert kinds == ['models', 'datasets', 'schedules', 'optimizers', 'runtime']
        return
    base, = re.findall(r"^_base_ = '([\w-]+)\.py'$", text, re.M)
    assert FILES[base].parent == FILES[name].parent and not kinds
    alone = tmp_path / 'alone.py'
    alone.write_text(re.sub(r'^_base_ = .*$', '', text, flags=re.M))
    for key, value in leaves(Config.fromfile(alone).to_dict()):
        assert value != dict(leaves(config(base).to_dict())).get(key, 'nothing'), key


def leaves(node, prefix=''):
    """(path, value) of all that is no dict."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value
