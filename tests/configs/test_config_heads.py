"""The heads of today beside the configs of mmdet and mmseg: parts, data, schedule, groups."""
import re
from copy import deepcopy
from importlib import import_module

import pytest
from config_files import FILES, NEWER, build_on_meta, config, meta_model, peer_config, row
from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, DefaultScope
from test_config_models import outline

from convnext_dense.config import load_config
from convnext_dense.config_nodes import type_name
from convnext_dense.published import load_published

SIZES = dict(t='tiny', s='small', b='base', l='large')
ADE20K = 'mask2former_{}_8xb2-160k_ade20k-{}'
LSJ = 'mask2former_{}_8xb2-lsj-50e_coco{}'
#: our rows and the files that mmdet and mmseg have for the same model
PEERS = {
    'dino-4scale_r50_8xb2-12e_coco': ('mmdet', 'dino/dino-4scale_r50_8xb2-12e_coco'),
    'dino-5scale_swin-l-in22k_8xb2-12e_coco': ('mmdet', 'dino/dino-5scale_swin-l_8xb2-12e_coco'),
    'rtmdet-l_convnext-b-in22k_4xb32-100e_coco':
        ('mmdet', 'rtmdet/rtmdet_l_convnext_b_4xb32-100e_coco'),
    'rtmdet-l_swin-b-in22k_4xb32-100e_coco': ('mmdet', 'rtmdet/rtmdet_l_swin_b_4xb32-100e_coco'),
    **{ADE20K.format(ours, crop): ('mmseg', f'mask2former/{ADE20K.format(theirs, crop)}')
       for ours, theirs, crop in (
           ('r50', 'r50', '512x512'), ('swin-t', 'swin-t', '512x512'),
           ('swin-s', 'swin-s', '512x512'), ('swin-b', 'swin-b-in1k-384x384-pre', '640x640'),
           ('swin-b-in22k', 'swin-b-in22k-384x384-pre', '640x640'),
           ('swin-l-in22k', 'swin-l-in22k-384x384-pre', '640x640'))},
    **{LSJ.format(ours, task): ('mmdet', f'mask2former/{LSJ.format(theirs, task)}')
       for ours, theirs in (('r50', 'r50'), ('swin-t', 'swin-t-p4-w7-224'),
                            ('swin-s', 'swin-s-p4-w7-224')) for task in ('', '-panoptic')},
}


# what one of the two configs spells out; label 0 of ADE20K is taken off by its data set as well
EVERYWHERE = (('backend_args', None), ('resize_type', 'Resize'))
DEFAULTS = dict.fromkeys(('LoadImageFromFile', 'RandomResize'), EVERYWHERE) | dict(
    LoadAnnotations=(*EVERYWHERE, ('with_mask', False), ('reduce_zero_label', True)),
    LoadPanopticAnnotations=(
        *EVERYWHERE, ('with_bbox', True), ('with_mask', True), ('with_seg', True)))


def peer(name):
    """mmdet's or mmseg's config of a row, with the row's backbone."""
    package, path = PEERS[name]
    cfg = peer_config(package, f'{path}.py')
    model = dict(cfg.model.to_dict(), backbone=config(name).model.backbone.to_dict())
    return Config(dict(cfg.to_dict(), default_scope=package, model=model))


def plain(value):
    """Values without scopes, what is the default, or the difference of list and tuple."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()
                if (key, part) not in DEFAULTS.get(type_name(value), ())}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return re.sub(r'^(mmdet|mmseg|convnext_dense)\.', '', value) if isinstance(value, str) else \
        value


@pytest.mark.parametrize('name', NEWER)
def test_every_config_builds_with_the_published_backbone(name):
    model, backbone = meta_model(name), config(name).model.backbone
    size = re.search(r'_(convnext|convnextv2|swin)-([a-z]+)', name)
    if not size:
        assert '_r50_' in name and backbone.depth == 50
        return
    size = SIZES.get(size[2], size[2])
    if '_swin-' in name:
        arch = load_published()['swin_recipes']['arch'][size]
        assert (backbone.embed_dims, backbone.depths, backbone.num_heads) == \
            (arch['dim'], arch['depths'], arch['heads'])
        assert backbone.window_size == (12 if '_384' in backbone.init_cfg.checkpoint else 7)
        return
    table = load_published()['backbones']['v2' if 'convnextv2' in name else 'v1'][size]
    assert list(model.backbone.depths) == table['depths']
    assert list(model.backbone.channels) == table['channels']
    assert hasattr(model.backbone.stages[0][0], 'grn') == ('convnextv2' in name)


@pytest.mark.parametrize('name', PEERS)
def test_parts_and_parameters_equal_those_of_openmmlab(name):
    """Every part has the same class and settings, and every parameter the same name and shape."""
    ours, theirs = meta_model(name), build_on_meta(peer(name))
    shapes, peer_shapes = ({key: tensor.shape for key, tensor in model.state_dict().items()}
                           for model in (ours, theirs))
    assert shapes == peer_shapes
    ours, theirs = without_idle(outline(ours)), without_idle(outline(theirs))
    settings = ours.keys() - {'_modules', 'class'}
    assert {key: ours[key] for key in settings} == {key: theirs[key] for key in settings}
    for part in ours['_modules'].keys() - {'backbone'}:
        assert ours['_modules'][part] == theirs['_modules'][part], part


def registry_of(kind):
    """mmdet has a constructor of its own, too."""
    if kind != 'LearningRateDecayOptimizerConstructor':
        return OPTIM_WRAPPER_CONSTRUCTORS
    import_module('mmdet.engine')
    return import_module('mmdet.registry').OPTIM_WRAPPER_CONSTRUCTORS


def without_idle(node):
    """An outline in which dropout of nothing is the identity."""
    if isinstance(node, list):
        return [without_idle(part) for part in node]
    if not isinstance(node, dict):
        return node
    if node.get('class') in ('Identity', 'Dropout') and not node.get('p'):
        return 'nothing'
    return {key: without_idle(part) for key, part in node.items()}


def groups(cfg, model):
    """{parameter name: (lr, weight decay)} of the optimizer that a config builds."""
    wrapper = deepcopy(cfg.optim_wrapper.to_dict())
    kind = wrapper.pop('constructor', 'DefaultOptimWrapperConstructor')
    paramwise = wrapper.pop('paramwise_cfg', None)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        constructor = registry_of(kind).get(kind)
        built = constructor(dict(wrapper, type='OptimWrapper'), paramwise)(model)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    return {names[id(parameter)]: (pytest.approx(group['lr']), group['weight_decay'])
            for group in built.optimizer.param_groups for parameter in group['params']}


@pytest.mark.parametrize('name', PEERS)
def test_learning_rates_and_weight_decays_equal_those_of_openmmlab(name):
    """By OpenMMLab's own constructors, which name each norm of a Swin; and clipping."""
    ours, theirs = config(name), peer(name)
    assert groups(ours, meta_model(name)) == groups(theirs, meta_model(name))
    assert ours.optim_wrapper.get('clip_grad') == theirs.optim_wrapper.get('clip_grad')
    assert ours.optim_wrapper.type == theirs.optim_wrapper.type


@pytest.mark.parametrize('name', PEERS)
def test_data_and_schedule_equal_those_of_openmmlab(name):
    ours, theirs = config(name), peer(name)
    for loader in ('train_dataloader', 'val_dataloader'):
        mine, other = plain(ours[loader]), plain(theirs[loader])
        assert mine['dataset']['pipeline'] == other['dataset']['pipeline']
        assert mine['batch_size'] == other['batch_size']
        assert mine['dataset'].get('filter_cfg') == other['dataset'].get('filter_cfg')
    assert plain(as_list(ours.param_scheduler)) == plain(as_list(theirs.param_scheduler))
    for key in ('type', 'max_epochs', 'max_iters', 'val_interval', 'dynamic_intervals'):
        assert plain(ours.train_cfg.get(key)) == plain(theirs.train_cfg.get(key)), key
    assert plain(ours.get('custom_hooks')) == plain(theirs.get('custom_hooks'))


def as_list(value):
    return value if isinstance(value, (list, tuple)) else [value]


FAMILIES = {
    'dino-4scale': 15, 'rtmdet-l': 2, 'rtmdet-tiny': 4, 'faster-rcnn.*_coco$': 2, 'cascade-rcnn': 2,
    'mask-rcnn.*-1x': 2, 'cascade-mask-rcnn.*-1x': 2, 'mask2former.*ade20k-512': 5,
    'mask2former.*ade20k-640': 6, 'mask2former.*_coco$': 5, 'mask2former.*_coco-panoptic$': 5}


@pytest.mark.parametrize('pattern', FAMILIES)
def test_all_backbones_have_the_same_head_data_and_schedule(pattern):
    names = [name for name in NEWER if re.match(pattern, name)]
    assert len(names) == FAMILIES[pattern]
    first = comparable(names[0])
    for name in names[1:]:
        assert comparable(name) == first, name


def comparable(name):
    """What a row shares with the others of its head: all but the backbone and what follows."""
    cfg = config(name)
    model = cfg.model.to_dict()
    del model['backbone']
    for part in ('neck', 'decode_head', 'panoptic_head'):
        model.get(part, {}).pop('in_channels', None)
    if '_r50_' in name and 'dino' in name:  # its training is mmdet's, the others' detrex's
        model['neck']['bias'] = True
        model['positional_encoding'].update(offset=-.5, temperature=10000)
        model['dn_cfg']['label_noise_scale'] = .2
    kept = ('train_dataloader', 'val_dataloader', 'test_dataloader', 'val_evaluator',
            'test_evaluator', 'param_scheduler', 'train_cfg', 'tta_pipeline', 'auto_scale_lr')
    return model, {key: cfg.get(key) for key in kept}


@pytest.mark.parametrize('name', [name for name in NEWER if config(name).get('published')])
def test_a_row_with_figures_is_named_as_its_row(name):
    head, backbone = name.split('_')[:2]
    pretrain = row(name)['pretrain']
    listed = row(name)['name']
    assert re.sub('-in22k|-dinov3', '', f'{head}_{backbone}') == listed
    assert ('-in22k' in backbone) == pretrain.startswith('in22k')
    assert ('-dinov3' in backbone) == (pretrain == 'dinov3')


@pytest.mark.parametrize('name', [name for name in NEWER if not config(name).get('published')])
def test_a_row_without_figures_says_that_its_recipe_is_this_project_s(name):
    assert config(name).recipe == 'convnext_dense'
    assert FILES[name].read_text().startswith('"""A recipe of this project')


@pytest.mark.parametrize('pretrain', ['', '-in22k', '-dinov3'])
@pytest.mark.parametrize('size', 'tsbl')
def test_dino_s_convnexts_train_as_published(size, pretrain):
    """Without drop path, layer scale of 1, a tenth of the lr in the backbone, from 384x384."""
    cfg = config(f'dino-4scale_convnext-{size}{pretrain}_8xb2-12e_coco')
    backbone = cfg.model.backbone
    assert (backbone.drop_path_rate, backbone.layer_scale_init_value) == (0., 1.)
    file = backbone.init_cfg.checkpoint.rpartition('/')[2]
    assert file == {
        '': f'convnext_{SIZES[size]}_1k_384.pth' if size in 'bl' else
            f'convnext_{SIZES[size]}_1k_224_ema.pth',  # of the small ones no other was released
        '-in22k': f'convnext_{SIZES[size]}_22k_1k_384.pth',
        '-dinov3': f'convnext-{SIZES[size]}_dinov3'}[pretrain]
    found = groups(cfg, meta_model(f'dino-4scale_convnext-{size}{pretrain}_8xb2-12e_coco'))
    for name, (lr, weight_decay) in found.items():
        assert lr == (1e-5 if name.startswith('backbone.') else 1e-4)
        assert weight_decay == 1e-4


def test_mask2former_spares_a_convnext_s_norms_too():
    name = 'mask2former_convnext-t_8xb2-160k_ade20k-512x512'
    found = groups(config(name), meta_model(name))
    undecayed = {key for key, (_, weight_decay) in found.items() if not weight_decay}
    norms = r'backbone\.(norm\d\.|stages\.\d\.\d\.norm\.|downsample_layers\.(0\.1|[123]\.0)\.)'
    assert {key for key in undecayed if key.startswith('backbone.')} == {
        key for key in found if re.match(norms, key)}
    assert {'decode_head.query_embed.weight', 'decode_head.level_embed.weight'} <= undecayed


def test_the_convnextv2_row_with_large_scale_jitter_is_the_published_one():
    cfg = config('mask-rcnn_convnextv2-b_fpn_amp-lsj-3x_coco')
    by_type = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert by_type['RandomResize'] == dict(
        type='RandomResize', scale=(1024, 1024), ratio_range=(.1, 2.), keep_ratio=True)
    assert by_type['RandomCrop'] == dict(
        type='RandomCrop', crop_size=(1024, 1024), crop_type='absolute_range', recompute_bbox=True,
        allow_negative_crop=True)
    assert by_type['FilterAnnotations'].min_gt_bbox_wh == (1e-2, 1e-2)
    assert cfg.model.test_cfg.rcnn.nms.type == 'soft_nms'
    assert (cfg.train_dataloader.batch_size, cfg.auto_scale_lr.base_batch_size) == (4, 32)
    assert (cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.paramwise_cfg.decay_rate,
            cfg.model.backbone.drop_path_rate, cfg.param_scheduler[0].end) == (1e-4, .95, .4, 1000)


@pytest.mark.parametrize('name, package, path', [
    ('upernet_convnext-t_8xb2-amp-80k_cityscapes-512x1024', 'mmseg', 'cityscapes.py'),
    ('faster-rcnn_convnext-t_fpn_amp-4e_voc0712', 'mmdet', 'voc0712.py')])
def test_other_data_sets_are_those_of_openmmlab(name, package, path):
    theirs = peer_config(package, f'_base_/datasets/{path}')
    for loader in ('train_dataloader', 'val_dataloader'):
        mine, other = plain(config(name)[loader]['dataset']), plain(theirs[loader]['dataset'])
        assert without_defaults(mine) == without_defaults(other)
    classes = 19 if package == 'mmseg' else 20
    model = meta_model(name)
    head = model.decode_head if package == 'mmseg' else model.roi_head.bbox_head
    assert head.num_classes == classes


def without_defaults(node):
    """A config of a data set without what its format's base says already."""
    if isinstance(node, list):
        return [without_defaults(part) for part in node]
    if isinstance(node, dict):
        return {key: without_defaults(part) for key, part in node.items()
                if key != 'backend_args'}
    return node


@pytest.mark.parametrize('name', ['coco_detection', 'coco_detr', 'coco_640x640'])
def test_boxes_alone_load_no_masks_anywhere(name):
    cfg = load_config(FILES[NEWER[0]].parents[1] / '_base_' / 'datasets' / f'{name}.py')
    text = cfg.pretty_text
    assert 'LoadAnnotations' in text and 'with_mask=True' not in text
    assert cfg.val_evaluator.metric == cfg.test_evaluator.metric == ['bbox']
