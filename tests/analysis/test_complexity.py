"""Counts against the published figures, mmcv's own counter and arithmetic."""
import json
import re
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from convnext_dense.analysis.complexity import (
    Part,
    build_on_meta,
    measure_complexity,
    published_size,
)
from convnext_dense.analysis.sizes import parse_size
from convnext_dense.cli import main
from convnext_dense.commands.complexity import render
from convnext_dense.config import load_config, set_device
from convnext_dense.errors import InputError
from convnext_dense.published import published_row, published_rows

CONFIGS = Path(__file__).parents[2] / 'configs'
FILES = sorted(path for room in ('mask_rcnn', 'cascade_mask_rcnn', 'upernet')
               for path in (CONFIGS / room).glob('*.py') if '-lsj-' not in path.name)
#: rows whose figure leaves out the products of attention, as mmcv's counter does
WITHOUT_ATTENTION = ('coco/cascade_swin-l_in22k', 'ade20k/upernet_swin-l_in22k')


@cache
def configs():
    """Configs with a published row, by the row's key."""
    found = map(Config.fromfile, FILES)
    return {cfg.published: cfg for cfg in found if cfg.get('published')}


def config_of(key):
    return configs()[key]


@cache
def counted(key):
    """Complexity of the config of a published row."""
    cfg = config_of(key)
    return measure_complexity(build_on_meta(cfg), published_size(cfg))


def rows_with(field):
    """Keys of published rows; the slow tests count the larger models of an architecture."""
    return [pytest.param(key, marks=[pytest.mark.slow] * bool(re.search('-(s|b|l|xl|64x4d)_', key)))
            for key, row in published_rows().items() if row.get(field)]


@pytest.mark.parametrize('key', rows_with('params_M'))
def test_parameters_are_the_published_ones_within_one_percent(key):
    assert counted(key).total.params / 1e6 == pytest.approx(published_row(key)['params_M'], rel=.01)


@pytest.mark.parametrize('key', rows_with('flops_G'))
def test_multiply_adds_are_the_published_ones_within_one_percent(key):
    assert counted(key).total.macs / 1e9 == pytest.approx(published_row(key)['flops_G'], rel=.01)


@pytest.mark.parametrize('key', rows_with('flops_G'))
def test_the_convention_explains_the_published_figure_within_a_tenth_of_a_percent(key):
    total = counted(key).total
    macs = total.mmcv if key in WITHOUT_ATTENTION else total.macs
    assert macs / 1e9 == pytest.approx(published_row(key)['flops_G'], rel=.001)


def test_parts_add_up_to_the_whole():
    complexity = counted('coco/cascade_convnext-t_in1k')
    assert list(complexity.parts) == ['backbone', 'neck', 'rpn_head', 'box_head', 'mask_head']
    backbone, neck = complexity.parts['backbone'], complexity.parts['neck']
    assert backbone + neck + complexity.heads == complexity.total
    # 256 x 7 x 7 into four 3x3 convolutions and two linear layers, thrice on 1000 proposals
    conv, linear = 4 * 256 * 256 * 9 * 49, 256 * 49 * 1024 + 1024 * (81 + 320)
    assert complexity.parts['box_head'].products == 3 * 1000 * (conv + linear)


def test_auxiliary_head_has_parameters_but_no_work_at_inference():
    auxiliary = counted('ade20k/upernet_convnext-t_in1k').parts['auxiliary_head']
    assert auxiliary.params > 384 * 256 * 9
    assert auxiliary == Part(params=auxiliary.params)


def test_counts_without_attention_are_those_of_mmcvs_own_tool():
    from mmcv.cnn.utils.flops_counter import get_model_complexity_info
    for backbone in (dict(type='mmdet.ResNet', depth=18),
                     dict(type='mmdet.SwinTransformer', embed_dims=24, depths=(1, 1, 1, 1),
                          num_heads=(1, 2, 3, 6))):
        cfg = Config(dict(default_scope='mmdet', model=dict(
            type='mmdet.RetinaNet', backbone=backbone, bbox_head=dict(
                type='mmdet.RetinaHead', num_classes=2, in_channels=8, stacked_convs=0),
            neck=dict(type='mmdet.FPN', out_channels=8, num_outs=5,
                      in_channels=[64, 128, 256, 512] if 'depth' in backbone else
                      [24, 48, 96, 192]))))
        part = measure_complexity(build_on_meta(cfg), (64, 96)).parts['backbone']
        from mmengine.registry import MODELS
        theirs, params = get_model_complexity_info(
            MODELS.build(backbone), (3, 64, 96), print_per_layer_stat=False, as_strings=False)
        assert (part.mmcv, part.params) == (theirs, params)


def test_attention_counts_two_products_of_activations():
    from mmdet.models.backbones.swin import WindowMSA

    from convnext_dense.analysis.complexity import _count_call
    attention = WindowMSA(embed_dims=8, num_heads=2, window_size=(4, 4)).to('meta').eval()
    with torch.no_grad():
        part, _ = _count_call(attention, (torch.empty(3, 16, 8, device='meta'), ))
    assert part.attention == 2 * 3 * 16 * 16 * 8
    assert part.products - part.attention == 3 * 16 * (8 * 24 + 8 * 8)


def shallow(name):
    """A row whose layers, all alike, are one each way, and few queries."""
    cfg = load_config(str(CONFIGS / f'{name}.py'))
    set_device(cfg, 'cpu')
    model = cfg.model
    model.backbone.update(arch=dict(depths=(1, 1, 1, 1), channels=(96, 192, 384, 768)))
    head = model.get('panoptic_head') or model.get('decode_head')
    layers = [model.encoder, model.decoder] if model.type == 'DINO' else [
        head.pixel_decoder.encoder, head.transformer_decoder]
    for part in layers:
        part.num_layers = 1
    if model.type == 'DINO':
        model.num_queries = 100
    return cfg


@pytest.mark.parametrize('name', [
    'dino/dino-4scale_convnext-t_8xb2-12e_coco',
    'mask2former/mask2former_convnext-t_8xb2-lsj-50e_coco-panoptic'])
def test_transformers_count_what_mmengine_counts_in_mmdet_s_models_within_one_percent(name):
    from mmdet.structures import DetDataSample
    from mmengine.analysis import get_model_complexity_info
    from mmengine.registry import MODELS
    cfg, size = shallow(name), (128, 160)
    found = measure_complexity(build_on_meta(cfg), size)
    model = MODELS.build(cfg.model).eval()
    sample = DetDataSample(metainfo=dict(img_shape=size, batch_input_shape=size))
    model.forward = partial(model._forward, batch_data_samples=[sample])
    theirs = get_model_complexity_info(model, None, inputs=torch.zeros(1, 3, *size),
                                       show_table=False, show_arch=False)
    assert found.total.params == theirs['params']
    assert found.total.macs == pytest.approx(theirs['flops'], rel=.01)


def test_box_and_mask_heads_follow_the_number_of_rois():
    cfg = config_of('coco/mask-rcnn_convnext-t_in1k')
    full = measure_complexity(build_on_meta(cfg), (64, 64)).parts
    half = measure_complexity(build_on_meta(cfg), (64, 64), proposals=500, masks=50).parts
    for head in ('box_head', 'mask_head'):
        assert full[head].macs == 2 * half[head].macs
    assert full['backbone'] == half['backbone']


@pytest.mark.parametrize('crop, size', [(512, (512, 2048)), (640, (640, 2560))])
def test_segmenters_are_counted_on_images_four_crops_wide(crop, size):
    cfg = Config(dict(model=dict(type='EncoderDecoder'), crop_size=(crop, crop)))
    assert published_size(cfg) == size


def test_a_segmenter_without_crop_size_needs_a_size():
    with pytest.raises(InputError, match='give --size'):
        published_size(Config(dict(model=dict(type='EncoderDecoder'))))


def test_other_kinds_of_model_are_refused():
    model = torch.nn.Module()
    model.backbone = torch.nn.Identity()
    with pytest.raises(InputError, match='neither a two-stage detector'):
        measure_complexity(model, (32, 32))


def test_size_is_written_width_first():
    assert parse_size('1280x800') == (800, 1280)
    for wrong in ('1280', '1280x', '0x10', 'axb', '1x2x3'):
        with pytest.raises(InputError, match='WIDTHxHEIGHT'):
            parse_size(wrong)


def test_figures_of_another_convention_are_shown_beside():
    key = 'coco/cascade_swin-l_in22k'
    text = render(counted(key), published_row(key))
    assert "leaves attention's products out" in text
    assert '1382.09 G (+0.01 %)' in text
    assert 'mask heads on 100' in text


def test_command_prints_the_published_row_and_writes_json(tmp_path, capsys):
    path = next(path for path in FILES
                if path.name.startswith('mask-rcnn_convnext-t_fpn_amp-ms-crop-3x'))
    assert main(['complexity', str(path), '--json', str(tmp_path / 'out.json')]) == 0
    printed = capsys.readouterr().out
    assert '1280x800' in printed and '262 G' in printed and '+0.04 %' in printed
    result = json.loads((tmp_path / 'out.json').read_text())[str(path)]
    assert result['total']['params'] == sum(part['params'] for part in result['parts'].values())
