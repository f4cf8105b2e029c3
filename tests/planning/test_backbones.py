"""Backbones by name: the settings, channels and weights of the published models."""
import pytest

from convnext_dense.checkpoints import zoo
from convnext_dense.checks.model_fit import backbone_channels
from convnext_dense.config import load_config
from convnext_dense.config_files import FOLDER
from convnext_dense.errors import InputError
from convnext_dense.planning.backbones import backbone_named, backbones

COCO = FOLDER / 'cascade_mask_rcnn'
RECIPE = 'cascade-mask-rcnn_{}_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py'
ALL = backbones()


@pytest.mark.parametrize('name, config', [
    ('convnext-t', 'convnext-t'), ('convnext-s', 'convnext-s'), ('convnextv2-b', 'convnextv2-b'),
    ('swin-t', 'swin-t'), ('swin-s', 'swin-s'), ('swin-b', 'swin-b'), ('resnet-50', 'r50')])
def test_settings_are_those_of_the_published_recipes(name, config):
    recipe = load_config(COCO / RECIPE.format(config))
    published = recipe.model.backbone
    settings = ALL[name].starting_from(ALL[name].weights, published.get('drop_path_rate', 0.))
    for key in ('arch', 'use_grn', 'layer_scale_init_value', 'embed_dims', 'num_heads', 'depth',
                'depths', 'window_size', 'drop_path_rate', 'norm_eval', 'style'):
        value = published.get(key, settings.get(key) if key == 'layer_scale_init_value' else None)
        assert settings.get(key) == (tuple(value) if isinstance(value, list) else value), key
    assert list(ALL[name].channels) == list(recipe.model.neck.in_channels)


@pytest.mark.parametrize('name', ALL)
def test_channels_are_those_that_checks_expect(name):
    cfg = load_config(COCO / RECIPE.format('r50'))
    assert ALL[name].channels == backbone_channels(ALL[name].settings, cfg)


def test_weights_are_known_to_the_zoo():
    named = [backbone.weights for backbone in ALL.values() if backbone.weights]
    assert 'swin-tiny_in1k' in named and 'convnextv2-atto_in1k' in named
    for name in named:
        assert '://' in name or zoo.entry(name).name == name
    assert ALL['swin-atto'].weights is None and ALL['convnext-atto'].weights is None


def test_weights_and_drop_path_come_in():
    swin = ALL['swin-t'].starting_from('swin.pth', .2)
    assert swin['drop_path_rate'] == .2
    assert swin['init_cfg'] == dict(type='convnext_dense.Pretrained', checkpoint='swin.pth')
    assert 'init_cfg' not in ALL['swin-t'].starting_from(None, .2)


def test_a_resnet_keeps_its_statistics_only_where_it_has_some():
    assert ALL['resnet-18'].starting_from('resnet.pth', .2)['norm_eval'] is True
    assert ALL['resnet-18'].starting_from(None, .2)['norm_eval'] is False
    assert 'drop_path_rate' not in ALL['resnet-18'].starting_from(None, .2)


@pytest.mark.parametrize('text, name', [('ConvNeXt-Tiny', 'convnext-t'), ('swin-base', 'swin-b'),
                                        ('convnextv2-huge', 'convnextv2-h')])
def test_long_names_are_understood(text, name):
    assert backbone_named(text).name == name


@pytest.mark.parametrize('name', ['swin-x', 'resnet50', 'vit-b', ''])
def test_unknown_names_are_refused_with_those_that_are_known(name):
    with pytest.raises(InputError, match=r'^--models .*known are convnext-\{atto,.*resnet-\{18,'):
        backbone_named(name)
