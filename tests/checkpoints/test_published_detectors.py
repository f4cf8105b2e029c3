"""The fine-tuned detectors and segmenters fit the configs, name by name and shape by shape.

Their names are those of mmdet 2 and mmseg 0, spelled out here; no tensor is needed for that.
"""
from importlib import import_module
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from convnext_dense.checkpoints import FORMATS, zoo
from convnext_dense.checkpoints.formats import from_official, recognise, to_official
from convnext_dense.checkpoints.loading import match
from convnext_dense.config import load_config
from convnext_dense.errors import InputError

CONFIGS = Path(__file__).parents[2] / 'configs'
NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')


def layer(name, kinds=('weight', 'bias')):
    return [f'{name}.{kind}' for kind in kinds]


def conv_bn(name):
    return [f'{name}.conv.weight', *layer(f'{name}.bn', NORM)]


def mmdet_2(cascade):
    names = [name for i in range(4) for part in ('lateral', 'fpn')
             for name in layer(f'neck.{part}_convs.{i}.conv')]
    names += [name for part in ('conv', 'cls', 'reg') for name in layer(f'rpn_head.rpn_{part}')]
    for stage in ('.0', '.1', '.2') if cascade else ('', ):
        box, mask = f'roi_head.bbox_head{stage}', f'roi_head.mask_head{stage}'
        names += layer(f'{box}.fc_cls') + layer(f'{box}.fc_reg') + layer(f'{box}.shared_fcs.0')
        names += [name for i in range(4) for name in conv_bn(f'{box}.shared_convs.{i}')] \
            if cascade else layer(f'{box}.shared_fcs.1')
        names += [name for i in range(4) for name in layer(f'{mask}.convs.{i}.conv')]
        names += layer(f'{mask}.upsample') + layer(f'{mask}.conv_logits')
    return names


def mmseg_0():
    names = layer('decode_head.conv_seg') + layer('auxiliary_head.conv_seg')
    parts = [f'decode_head.psp_modules.{i}.1' for i in range(4)]
    parts += [f'decode_head.{part}_convs.{i}' for part in ('lateral', 'fpn') for i in range(3)]
    parts += ['decode_head.bottleneck', 'decode_head.fpn_bottleneck', 'auxiliary_head.convs.0']
    return names + [name for part in parts for name in conv_bn(part)]


def convnext_names():
    names = [name for stage in range(4) for place in range(2)
             for name in layer(f'downsample_layers.{stage}.{place}')]
    for stage, depth in enumerate((3, 3, 9, 3)):
        names += layer(f'norm{stage}')
        for block in (f'stages.{stage}.{block}' for block in range(depth)):
            names += [f'{block}.gamma', *(name for part in ('dwconv', 'norm', 'pwconv1', 'pwconv2')
                                          for name in layer(f'{block}.{part}'))]
    return names


def swin_names():
    names = layer('patch_embed.proj') + layer('patch_embed.norm')
    for stage, depth in enumerate((2, 2, 6, 2)):
        names += layer(f'norm{stage}')
        if stage < 3:
            names += [f'layers.{stage}.downsample.reduction.weight',
                      *layer(f'layers.{stage}.downsample.norm')]
        for block in (f'layers.{stage}.blocks.{block}' for block in range(depth)):
            names += [f'{block}.attn.relative_position_bias_table',
                      f'{block}.attn.relative_position_index',
                      *(name for part in ('norm1', 'norm2', 'attn.qkv', 'attn.proj', 'mlp.fc1',
                                          'mlp.fc2') for name in layer(f'{block}.{part}'))]
    return names


def built(entry):
    """Names and shapes of the model of a zoo entry's config."""
    cfg = load_config(str(CONFIGS / entry.config))
    import_module(f'{cfg.default_scope}.models')
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    return {key: value.to('meta') for key, value in model.state_dict().items()}


@pytest.mark.parametrize('name, heads', [
    ('mask-rcnn_convnext-t_coco', mmdet_2(cascade=False)),
    ('cascade-mask-rcnn_convnext-t_coco', mmdet_2(cascade=True)),
    ('upernet_convnext-t_ade20k', mmseg_0()),
    ('mask-rcnn_swin-t_coco', mmdet_2(cascade=False)),
    ('upernet_swin-t_ade20k', mmseg_0())])
def test_a_published_model_fits_its_config(name, heads):
    wanted = built(zoo.entry(name))
    swin = 'swin' in name
    found = recognise(wanted)
    backbone, rest = to_official(wanted, found)
    assert sorted(rest) == sorted(heads)
    assert sorted(backbone) == sorted(swin_names() if swin else convnext_names())

    formats = ('swin', 'swin-openmmlab') if swin else ('official', 'mmpretrain')
    for fmt in formats:
        file = {**from_official(backbone, FORMATS[fmt], 'backbone.'), **rest}
        report, fitted = match(wanted, file, name)
        assert report.format == fmt and set(fitted) == set(wanted)
        assert not report.missing and not report.unexpected and not report.reshaped

    head = next(key for key in file if 'fc_cls.bias' in key or 'decode_head.conv_seg.bias' in key)
    file[head] = torch.empty(7, device='meta')
    with pytest.raises(InputError, match=rf'{head} has the shape \(7,\), but the model wants'):
        match(wanted, file, name)
