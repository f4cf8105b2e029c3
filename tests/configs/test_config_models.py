"""The models: parameters, backbones and weights of the published rows, and equal heads."""
import re

import pytest
import torch
from config_files import (
    ADE20K,
    COCO,
    CONVNEXT,
    NAMES,
    RESNET,
    SWIN,
    V2,
    build_on_meta,
    config,
    meta_model,
    peer_config,
    row,
)
from mmengine.config import Config

from convnext_dense.published import load_published

PUBLISHED = load_published()
SIZES = {'t': 'tiny', 's': 'small', 'b': 'base', 'l': 'large', 'xl': 'xlarge', 'h': 'huge'}


def size_of(name):
    return SIZES[re.search(r'_(?:convnext|convnextv2|swin)-([a-z]+)', name)[1]]


def millions(model):
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


@pytest.mark.parametrize('name', NAMES)
def test_parameters_are_within_one_percent_of_the_published_count(name):
    model = meta_model(name)
    published = row(name).get('params_M') if config(name).published else None
    if published is None:  # Swin-L and ConvNeXt V2
        published = PARAMETERS_OF_RELATIVES[name]()
    assert millions(model) == pytest.approx(published, rel=.01)


def beside(name, mine, other, where='v1', others='v1'):
    """Published count of another row, with this row's backbone in place of the other's."""
    table = PUBLISHED['backbones']
    return lambda: row(name)['params_M'] + (
        table[where][mine]['params_M'] - table[others][other]['params_M'])


# no count was published for these: that of the same heads beside another backbone, corrected
# by the two backbones' published ImageNet counts (whose classifiers differ by less than 1 %)
CASCADE, UPERNET = 'cascade-mask-rcnn_{}_fpn_giou-4conv1fc_{}ms-crop-3x_coco', \
    'upernet_{}_8xb2-{}160k_ade20k-512x512'
PARAMETERS_OF_RELATIVES = {
    # ConvNeXt-L has 197.8 M parameters, Swin-L 197 M (arXiv 2103.14030, table 1)
    CASCADE.format('swin-l-in22k', 'amp-'): lambda: 255 - 197.8 + 197,
    'mask-rcnn_convnextv2-b_fpn_amp-ms-crop-3x_coco':
        beside('mask-rcnn_convnext-t_fpn_amp-ms-crop-3x_coco', 'base', 'tiny', 'v2'),
    CASCADE.format('convnextv2-t', 'amp-'):
        beside(CASCADE.format('convnext-t', 'amp-'), 'tiny', 'tiny', 'v2'),
    CASCADE.format('convnextv2-b', 'amp-'):
        beside(CASCADE.format('convnext-b', 'amp-'), 'base', 'base', 'v2'),
    UPERNET.format('convnextv2-t', 'amp-'):
        beside(UPERNET.format('convnext-t', 'amp-'), 'tiny', 'tiny', 'v2'),
    UPERNET.format('convnextv2-b', 'amp-'):
        beside(UPERNET.format('convnext-b', 'amp-'), 'base', 'base', 'v2'),
    UPERNET.format('convnextv2-l', ''): lambda: 235,
    # the heads of UperNet grow with the width: L to XL is 64 channels in the first stage, H 96 more
    UPERNET.format('convnextv2-h', ''):
        lambda: 660 + (391 - 350.2) + 96 / 64 * ((391 - 350.2) - (235 - 197.8)),
}


@pytest.mark.parametrize('name', CONVNEXT + V2)
def test_convnext_is_the_published_one(name):
    backbone = meta_model(name).backbone
    table = PUBLISHED['backbones']['v2' if name in V2 else 'v1'][size_of(name)]
    assert type(backbone).__module__ == 'convnext_dense.models.convnext'
    assert list(backbone.depths) == table['depths']
    assert list(backbone.channels) == table['channels']
    block = backbone.stages[0][0]
    assert hasattr(block, 'grn') == (name in V2)
    assert config(name).model.backbone.layer_scale_init_value == (0. if name in V2 else 1.)
    assert hasattr(block, 'gamma') == (name not in V2)


@pytest.mark.parametrize('name', CONVNEXT)
def test_drop_path_is_the_published_one(name):
    assert config(name).model.backbone.drop_path_rate == row(name)['drop_path']


@pytest.mark.parametrize('name', SWIN)
def test_swin_is_the_published_one(name):
    recipes = PUBLISHED['swin_recipes']
    backbone, arch = config(name).model.backbone, recipes['arch'][size_of(name)]
    assert (backbone.embed_dims, backbone.depths, backbone.num_heads) == \
        (arch['dim'], arch['depths'], arch['heads'])
    if name in COCO:
        rates = recipes['coco']['drop_path']
        # none is given for Swin-L; it takes Swin-B's
        assert backbone.drop_path_rate == rates.get(size_of(name), rates['base'])
    else:
        assert backbone.drop_path_rate == recipes['ade20k']['drop_path']
    assert backbone.window_size == recipes['coco' if name in COCO else 'ade20k']['window']
    assert any(cls.__module__ == 'mmdet.models.backbones.swin'
               for cls in type(meta_model(name).backbone).__mro__)


@pytest.mark.parametrize('name', RESNET)
def test_resnets_train_as_in_mmdet(name):
    """Stem and first stage frozen, and batch norms with the statistics of ImageNet."""
    backbone = meta_model(name).backbone
    assert backbone.frozen_stages == 1 and backbone.norm_eval
    assert backbone.depth == (50 if '_r50_' in name else 101)
    groups = row(name)['name'].partition('101-')[2].partition('x4d')[0]
    assert getattr(backbone, 'groups', None) == (int(groups) if groups else None)


def alternatives(text):
    """``['a1', 'a2']`` for ``a{1,2}``, as published.yaml writes families of file names."""
    match = re.search(r'\{([^{}]*)\}', text)
    if not match:
        return [text]
    return [found for choice in match[1].split(',') for found in alternatives(
        text[:match.start()] + choice + text[match.end():])]


@pytest.mark.parametrize('name', [name for name in NAMES if name not in RESNET])
def test_the_backbone_starts_from_its_published_weights(name):
    cfg = config(name).model.backbone
    folder, _, file = cfg.init_cfg.checkpoint.rpartition('/')
    known = PUBLISHED['checkpoints']
    if name in SWIN:
        assert folder == 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0'
        assert cfg.convert_weights
        listed = known['swin_backbones'].split(': ')[1].split(', ')
        assert file in [file for text in _whole(listed) for file in alternatives(text)]
        assert ('_22k' in file) == (row(name)['pretrain'] == 'in22k')
    elif name in V2:
        kind = 'v2_fcmae' if '_fcmae' in file else 'v2_in1k'
        listed = known[kind].replace('atto,...,huge', ','.join(PUBLISHED['backbones']['v2']))
        assert cfg.init_cfg.checkpoint in alternatives(listed)
        if config(name).published:
            assert kind == {'fcmae': 'v2_fcmae', 'fcmae-in1k': 'v2_in1k'}[row(name)['pretrain']]
    else:
        listed = known[f'v1_{row(name)["pretrain"]}'].split(';')[0]
        assert cfg.init_cfg.checkpoint in alternatives(listed)
    assert f'_{size_of(name)}_' in file


def _whole(parts):
    """Joins what a comma inside braces has split."""
    text = ', '.join(parts)
    return re.split(r', (?![^{]*\})', text)


def without_inputs(cfg):
    """A model without backbone and what fits the heads to its width and the crop to the data."""
    model = cfg.model.to_dict()
    del model['backbone']
    for part in ('neck', 'decode_head', 'auxiliary_head'):
        model.get(part, {}).pop('in_channels', None)
    return model


@pytest.mark.parametrize('kind, count', [
    ('mask-rcnn_', 4), ('cascade-mask-rcnn_', 16), ('-512x512', 10), ('-640x640', 5)])
def test_all_backbones_have_the_same_heads_and_test_mode(kind, count):
    names = [name for name in NAMES if name.startswith(kind) or name.endswith(kind)]
    assert len(names) == count
    first = without_inputs(config(names[0]))
    assert all(without_inputs(config(name)) == first for name in names)


@pytest.mark.parametrize('name', ADE20K)
def test_segmenters_are_tested_on_sliding_windows(name):
    crop, stride = (512, 341) if name.endswith('-512x512') else (640, 426)
    model = meta_model(name)
    assert model.test_cfg == dict(mode='slide', crop_size=(crop, crop), stride=(stride, stride),
                                  keep_logits=False)
    assert model.data_preprocessor.size == (crop, crop)
    assert model.decode_head.channels == 512
    assert model.decode_head.num_classes == model.auxiliary_head.num_classes == 150


# classes of the same names and settings
FASTER = ('convnext_dense.detection', 'convnext_dense.segmentation')
STANDS_FOR = dict(SegMask2FormerHead='Mask2FormerHead')


def outline(thing, inside=()):
    """Classes and settings of an object and everything inside it, defaults included."""
    if isinstance(thing, torch.Tensor):
        return tuple(thing.shape)
    if isinstance(thing, (list, tuple)):
        return [outline(part, inside) for part in thing]
    if isinstance(thing, dict):
        return {key: outline(value, inside) for key, value in thing.items()}
    if type(thing).__name__ == 'SingleRoIExtractor':  # ours stands for theirs
        settings = ('out_channels', 'featmap_strides', 'finest_scale')
        layer = ('output_size', 'spatial_scale', 'sampling_ratio', 'pool_mode', 'aligned')
        return [[getattr(thing, key) for key in settings],
                [[getattr(part, key) for key in layer] for part in thing.roi_layers]]
    if type(thing).__module__.startswith(('mm', 'torch', *FASTER)) and id(thing) not in inside and \
            hasattr(thing, '__dict__'):
        # how a part was configured may differ in words; what it became may not
        return {'class': STANDS_FOR.get(type(thing).__name__, type(thing).__name__), **{
            key: outline(value, (*inside, id(thing))) for key, value in vars(thing).items()
            if key not in ('cfg', '_params_init_info') and not key.endswith('_cfg')}}
    return thing if isinstance(thing, (int, float, str, type(None))) else type(thing).__name__


@pytest.mark.parametrize('name, package, peer', [
    ('mask-rcnn_convnext-t_fpn_amp-ms-crop-3x_coco', 'mmdet',
     'convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'),
    (CASCADE.format('convnext-t', 'amp-'), 'mmdet',
     'convnext/cascade-mask-rcnn_convnext-t-p4-w7_fpn_4conv1fc-giou_amp-ms-crop-3x_coco.py'),
    (UPERNET.format('convnext-t', 'amp-'), 'mmseg',
     'convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py'),
    ('upernet_convnext-xl-in22k_8xb2-160k_ade20k-640x640', 'mmseg',
     'convnext/convnext-xlarge_upernet_8xb2-amp-160k_ade20k-640x640.py')])
def test_the_heads_equal_those_of_openmmlab(name, package, peer):
    """Built from their config, every part has the same class and settings."""
    theirs = peer_config(package, peer)
    theirs = Config(dict(default_scope=package,
                         model=dict(theirs.model, backbone=config(name).model.backbone)))
    ours, peer_model = outline(meta_model(name)), outline(build_on_meta(theirs))
    parts, peer_parts = ours['_modules'], peer_model['_modules']
    assert parts.keys() == peer_parts.keys()
    for part in parts.keys() - {'backbone'}:
        assert parts[part] == peer_parts[part], part
    # tensors have no values here (anchors), and assigners and samplers are built while training
    check_subset(config(name).model, theirs.model)


def check_subset(ours, theirs):
    """What we state is what they state."""
    if isinstance(ours, dict):
        for key in ours.keys() - {'keep_logits'}:  # an option of our segmentor
            check_subset(ours[key], theirs[key])
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs):
            check_subset(mine, other)
    else:
        assert ours == theirs or ours == f'convnext_dense.{theirs}'
