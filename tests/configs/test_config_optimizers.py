"""Optimizers: the published settings, and the groups that they give a whole model."""
import re

import pytest
from config_files import ADE20K, COCO, CONVNEXT, NAMES, RESNET, SWIN, V2, config, meta_model, row
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS

from convnext_dense.models.architectures import resolve_arch
from convnext_dense.optim.layer_groups import needed_layers
from convnext_dense.published import load_published

RULES = load_published()['layer_decay']


def num_layers(name):
    """Groups between stem and heads, which no config writes: they follow from the depths."""
    return needed_layers(resolve_arch(config(name).model.backbone.arch)[0])


@pytest.mark.parametrize('name', CONVNEXT)
def test_convnext_rows_have_the_published_settings(name):
    cfg, published = config(name).optim_wrapper, row(name)
    assert cfg.optimizer == dict(
        type='AdamW', lr=published['lr'], betas=(.9, .999), weight_decay=.05)
    decay, kind = (published['decay'], 'layer_wise') if name in COCO else (.9, 'stage_wise')
    assert cfg.paramwise_cfg == dict(decay_rate=decay, decay_type=kind)
    assert num_layers(name) == published['num_layers']
    assert cfg.type == ('AmpOptimWrapper' if published['amp'] else 'OptimWrapper')


@pytest.mark.parametrize('name', SWIN + RESNET)
def test_swin_and_resnet_rows_have_the_settings_of_swin(name):
    cfg = config(name).optim_wrapper
    recipe = load_published()['swin_recipes']['coco' if name in COCO else 'ade20k']
    assert cfg.optimizer == dict(
        type='AdamW', lr=recipe['lr'], betas=(.9, .999), weight_decay=recipe['wd'])
    assert cfg.type == ('AmpOptimWrapper' if recipe['amp'] else 'OptimWrapper')
    assert 'constructor' not in cfg


@pytest.mark.parametrize('name', V2)
def test_v2_recipes_are_those_of_v1(name):
    """Learning rate, decay and precision of the V1 row of the same size, L's for H."""
    stem = name.replace('convnextv2-h', 'convnextv2-l')
    like = {'mask-rcnn_convnextv2-b_fpn_amp-ms-crop-3x_coco':
            'mask-rcnn_convnext-t_fpn_amp-ms-crop-3x_coco',
            'upernet_convnextv2-l_8xb2-160k_ade20k-512x512':
            'upernet_convnext-l-in22k_8xb2-160k_ade20k-640x640'}.get(
                stem, stem.replace('convnextv2', 'convnext'))
    ours, theirs = config(name).optim_wrapper.to_dict(), config(like).optim_wrapper.to_dict()
    assert num_layers(name) == (6 if config(name).model.backbone.arch == 'tiny' else 12)
    assert ours == theirs
    assert config(name).model.backbone.drop_path_rate == config(like).model.backbone.drop_path_rate


def optimizer_settings(name):
    """{parameter name: (lr, weight decay)} of the optimizer that a config builds."""
    cfg = config(name).optim_wrapper.to_dict()
    cfg.pop('type')  # mixed precision needs a GPU
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.get(
        cfg.pop('constructor', 'DefaultOptimWrapperConstructor'))
    paramwise = cfg.pop('paramwise_cfg', None)
    model = meta_model(name)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    wrapper = constructor(dict(cfg, type='OptimWrapper'), paramwise)(model)
    return {names[id(parameter)]: (group['lr'], group['weight_decay'])
            for group in wrapper.optimizer.param_groups for parameter in group['params']}


def published_group(name, kind, num_layers):
    """Group of a parameter by the rules that published.yaml states in words."""
    rules, known = RULES[kind], dict(N=num_layers)
    for rule, group in rules.items():
        pattern = '^backbone.' + re.escape(rule).replace(r'block_b', r'(?P<b>\d+)')
        pattern = re.sub(r'stages\\\.s$', r'stages\\.(?P<s>\\d+)', pattern) + r'\.'
        if match := re.match(pattern, name):
            known.update({key: int(value) for key, value in match.groupdict().items()})
            return eval(str(group), {}, known)
    return eval(str(rules['everything_else']), {}, known)


@pytest.mark.parametrize('name', CONVNEXT + V2)
def test_the_groups_of_the_whole_model_are_the_published_ones(name):
    cfg = config(name).optim_wrapper
    options, base = cfg.paramwise_cfg, cfg.optimizer.lr
    last = num_layers(name) + 1
    found = optimizer_settings(name)
    shapes = {key: parameter.ndim for key, parameter in meta_model(name).named_parameters()}
    assert found.keys() == shapes.keys()
    for parameter, (lr, weight_decay) in found.items():
        group = published_group(parameter, options.decay_type, last - 1)
        assert lr == pytest.approx(base * options.decay_rate**(last - group)), parameter
        bare = shapes[parameter] == 1 or parameter.endswith(
            ('.bias', '.grn.gamma', '.grn.beta'))
        assert weight_decay == (0. if bare else .05), parameter
    groups = {published_group(key, options.decay_type, last - 1) for key in found}
    assert groups == (set(range(last + 1)) if options.decay_type == 'layer_wise'
                      else {0, 1, 2, 3, 4, last})


@pytest.mark.parametrize('name', SWIN)
def test_swins_norms_and_position_biases_have_no_weight_decay(name):
    wd = .05 if name in COCO else .01
    found = optimizer_settings(name)
    listed = load_published()['swin_recipes']['no_weight_decay']
    for parameter, (lr, weight_decay) in found.items():
        assert lr == config(name).optim_wrapper.optimizer.lr
        assert weight_decay == (0. if any(key in parameter for key in listed) else wd), parameter
    assert {value for _, value in found.values()} == {0., wd}


@pytest.mark.parametrize('name', RESNET)
def test_frozen_layers_of_resnets_are_not_trained(name):
    found = optimizer_settings(name)
    trained = {key for key, parameter in meta_model(name).named_parameters()
               if parameter.requires_grad}
    assert not any(key.startswith(('backbone.conv1', 'backbone.layer1')) for key in trained)
    assert trained <= found.keys()


def test_every_config_is_checked_above():
    assert set(CONVNEXT + V2 + SWIN + RESNET) == set(NAMES) == set(COCO + ADE20K)
    assert DefaultOptimWrapperConstructor.__name__ in OPTIM_WRAPPER_CONSTRUCTORS.module_dict
