"""Files of DINO, Mask2Former and RTMDet: mmdet's and mmseg's own, detrex's, and other classes."""
import sys
from importlib import import_module
from pathlib import Path

import peers
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from tiny_weights import CHANNELS, DEPTHS, randomise

from convnext_dense.checkpoints import FORMATS, load_weights, zoo
from convnext_dense.checkpoints.fine_tuning import classes_of, plan_fine_tuning
from convnext_dense.checkpoints.formats import from_official, recognise, to_official
from convnext_dense.checkpoints.inspection import inspect_checkpoint
from convnext_dense.checkpoints.loading import match
from convnext_dense.config import load_config
from convnext_dense.errors import InputError

sys.path.append(str(Path(__file__).parents[1] / 'configs'))
from config_files import build_on_meta, config, meta_model, peer_config  # noqa: E402

CONFIGS = Path(__file__).parents[2] / 'configs'
IMAGES = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
ARCH = dict(depths=DEPTHS, channels=CHANNELS)
SWIN = dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=3)
#: name: config of this project, and the one of mmdet or mmseg with the same model
MODELS_OF_TODAY = {
    'dino': ('dino-5scale_swin-l-in22k_8xb2-12e_coco', 'mmdet',
             'dino/dino-5scale_swin-l_8xb2-12e_coco.py'),
    'rtmdet': ('rtmdet-l_swin-b-in22k_4xb32-100e_coco', 'mmdet',
               'rtmdet/rtmdet_l_swin_b_4xb32-100e_coco.py'),
    'rtmdet convnext': ('rtmdet-l_convnext-b-in22k_4xb32-100e_coco', 'mmdet',
                        'rtmdet/rtmdet_l_convnext_b_4xb32-100e_coco.py'),
    'mask2former': ('mask2former_swin-t_8xb2-lsj-50e_coco', 'mmdet',
                    'mask2former/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco.py'),
    'mask2former panoptic': ('mask2former_swin-t_8xb2-lsj-50e_coco-panoptic', 'mmdet',
                             'mask2former/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_'
                             'coco-panoptic.py'),
    'mask2former segmenter': ('mask2former_swin-t_8xb2-160k_ade20k-512x512', 'mmseg',
                              'mask2former/mask2former_swin-t_8xb2-160k_ade20k-512x512.py')}


@pytest.mark.parametrize('name', MODELS_OF_TODAY)
def test_a_model_of_mmdet_or_mmseg_fits_ours(name):
    """Every tensor has its place, in names and shapes, without memory for them."""
    ours, package, path = MODELS_OF_TODAY[name]
    cfg = peer_config(package, path)
    if 'convnext' in path:
        peers.import_mmpretrain()
        cfg.model.backbone.init_cfg = None
    state = build_on_meta(cfg).state_dict()
    report, fitted = match(meta_model(ours).state_dict(), state, name)
    assert not report.missing and not report.unexpected
    assert len(fitted) == len(meta_model(ours).state_dict())
    assert report.format == ('mmpretrain' if 'convnext' in path else 'swin-openmmlab')


def tiny(head, backbone, classes):
    """A small model of each head, with the backbone's config."""
    base = dict(dino='dino/dino-4scale_convnext-t_8xb2-12e_coco.py',
                rtmdet='rtmdet/rtmdet-tiny_convnextv2-atto_4xb32-100e_coco.py',
                mask2former='mask2former/mask2former_convnext-t_8xb2-lsj-50e_coco.py',
                segmenter='mask2former/mask2former_convnext-t_8xb2-160k_ade20k-512x512.py')[head]
    cfg = load_config(str(CONFIGS / base))
    model = cfg.model
    scales = (0, 1, 2, 3) if head in ('mask2former', 'segmenter') else (1, 2, 3)
    model.backbone = dict(backbone, out_indices=scales)
    widths = [CHANNELS[scale] if 'arch' in backbone else 8 * 2**scale for scale in scales]
    if head == 'dino':
        model.num_queries = 9
        model.encoder.num_layers = model.decoder.num_layers = 1
        model.neck.in_channels = widths
        model.bbox_head.num_classes = classes
    elif head == 'rtmdet':
        model.neck.in_channels = widths
        model.bbox_head.num_classes = classes
        model.neck.norm_cfg = model.bbox_head.norm_cfg = dict(type='BN')
    else:
        part = model.decode_head if head == 'segmenter' else model.panoptic_head
        part.in_channels = widths
        part.pixel_decoder.encoder.num_layers = part.transformer_decoder.num_layers = 1
        part.num_queries = 5
        part.loss_cls.class_weight = [1.] * classes + [.1]
        if head == 'segmenter':
            part.num_classes = classes
        else:
            part.num_things_classes, part.num_stuff_classes = classes, 0
            model.panoptic_fusion_head.num_things_classes = classes
            model.panoptic_fusion_head.num_stuff_classes = 0
    scope = 'mmseg' if head == 'segmenter' else 'mmdet'
    import_module(f'{scope}.models')
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(model).eval()


@pytest.mark.parametrize('head', ['dino', 'rtmdet', 'mask2former', 'segmenter'])
@pytest.mark.parametrize('family', ['convnext', 'swin'])
@torch.no_grad()
def test_maps_and_heads_are_the_peer_s_after_loading(head, family, tmp_path):
    """mmpretrain's ConvNeXt and mmdet's Swin in the same model; neck and head as mmdet has them."""
    if family == 'convnext':
        peers.import_mmpretrain()
        backbones = (dict(type='mmpretrain.ConvNeXt', arch=ARCH, gap_before_final_norm=False),
                     dict(type='convnext_dense.ConvNeXt', arch=ARCH))
    else:
        backbones = (dict(SWIN, type='mmdet.SwinTransformer'),
                     dict(SWIN, type='convnext_dense.SwinTransformer'))
    peer, ours = (tiny(head, backbone, 3) for backbone in backbones)
    randomise(peer)
    path = tmp_path / 'epoch_12.pth'
    torch.save(dict(state_dict=peer.state_dict(), meta=dict(
        mmdet_version='3.3.0', dataset_meta=dict(classes=('a', 'b', 'c')))), path)
    report = load_weights(ours, path)
    assert not report.missing and not report.unexpected
    for expected, x in zip(peer.extract_feat(IMAGES), ours.extract_feat(IMAGES), strict=True):
        assert expected.std() > .01
        torch.testing.assert_close(x, expected, atol=1e-5, rtol=1e-5)
    state = ours.state_dict()
    assert all(torch.equal(state[key], value) for key, value in peer.state_dict().items()
               if not key.startswith('backbone.'))
    described = inspect_checkpoint(path)
    assert described['classes'] == ['a', 'b', 'c'] and described['program'] == 'mmdet 3.3.0'
    assert described['kind'] == ('segmenter' if head == 'segmenter' else 'detector')


# -- other classes -------------------------------------------------------------------------------

OLD, NEW = ('apple', 'kiwi', 'orange'), ('mango', 'Orange', 'plum', 'apple')
#: layers with rows of classes, and rows for "no object"
CLASS_LAYERS = dict(
    dino={'bbox_head.cls_branches.0': 0, 'bbox_head.cls_branches.1': 0,
          'dn_query_generator.label_embedding': 0},
    rtmdet={f'bbox_head.rtm_cls.{level}': 0 for level in range(3)},
    mask2former={'panoptic_head.cls_embed': 1}, segmenter={'decode_head.cls_embed': 1})


@pytest.mark.parametrize('head', CLASS_LAYERS)
def test_rows_of_classes_are_matched_by_name(head):
    backbone = dict(type='convnext_dense.ConvNeXt', arch=ARCH)
    old, new = (randomise(tiny(head, backbone, len(classes)), seed)
                for seed, classes in enumerate((OLD, NEW)))
    before, state = ({key: value.clone() for key, value in model.state_dict().items()}
                     for model in (new, old))
    plan = plan_fine_tuning(before, state, NEW, OLD, 'the file')
    assert plan.kept == ['Orange', 'apple'] and plan.fresh == ['mango', 'plum']
    assert not plan.started and not plan.left
    rows = set()
    for layer, background in CLASS_LAYERS[head].items():
        for key in (f'{layer}.weight', f'{layer}.bias'):
            if key not in before:
                continue
            expected = before[key].clone()
            expected[1], expected[3] = state[key][2], state[key][0]
            if background:
                expected[-1] = state[key][-1]
            assert torch.equal(plan.tensors[key], expected), key
            rows.add(key)
    for key, value in plan.tensors.items():
        assert key in rows or torch.equal(value, state[key]), key
    assert {key for key in before if before[key].shape != state[key].shape} == rows


# -- detrex --------------------------------------------------------------------------------------


def layer(name):
    return [f'{name}.weight', f'{name}.bias']


def detrex_names(depths, levels=4, layers=6, classes_again=True):
    """The names of detrex's DINO with a ConvNeXt, as its classes give them."""
    names = ['transformer.level_embeds', 'transformer.tgt_embed.weight', 'label_enc.weight',
             *layer('transformer.enc_output'), *layer('transformer.enc_output_norm'),
             *layer('transformer.decoder.norm')]
    for place in range(2):
        names += layer(f'transformer.decoder.ref_point_head.layers.{place}')
    for part, place in [('convs', place) for place in range(levels - 1)] + [('extra_convs', 0)]:
        names += layer(f'neck.{part}.{place}.conv') + layer(f'neck.{part}.{place}.norm')
    for coder, deformable, norms in (('encoder', 0, 2), ('decoder', 1, 3)):
        for number in range(layers):
            block = f'transformer.{coder}.layers.{number}'
            for part in ('sampling_offsets', 'attention_weights', 'value_proj', 'output_proj'):
                names += layer(f'{block}.attentions.{deformable}.{part}')
            if coder == 'decoder':
                names += [f'{block}.attentions.0.attn.in_proj_weight',
                          f'{block}.attentions.0.attn.in_proj_bias',
                          *layer(f'{block}.attentions.0.attn.out_proj')]
            names += layer(f'{block}.ffns.0.layers.0.0') + layer(f'{block}.ffns.0.layers.1')
            for norm in range(norms):
                names += layer(f'{block}.norms.{norm}')
    for prefix in ('', 'transformer.decoder.'):
        for number in range(layers + 1):
            names += layer(f'{prefix}class_embed.{number}')
            for place in range(3):
                names += layer(f'{prefix}bbox_embed.{number}.layers.{place}')
    for stage, depth in enumerate(depths):
        for place in range(2):
            names += layer(f'backbone.downsample_layers.{stage}.{place}')
        if stage:
            names += layer(f'backbone.norm{stage}')
        for block in range(depth):
            names.append(f'backbone.stages.{stage}.{block}.gamma')
            for part in ('dwconv', 'norm', 'pwconv1', 'pwconv2'):
                names += layer(f'backbone.stages.{stage}.{block}.{part}')
    return names


def in_detrex_s_names(state, names):
    """mmdet's tensors under detrex's names, by the function under test read backwards."""
    numbered = {name: torch.tensor(number) for number, name in enumerate(names)}
    backbone, rest = to_official(numbered, recognise(numbered))
    official = {**{names[number]: f'backbone.{key}' for key, number in backbone.items()},
                **{names[number]: key for key, number in rest.items()}}
    # the decoder's second names of the heads
    for name in names:
        official.setdefault(name, official.get(f'transformer.decoder.{name}'))
    return {name: state[key] for name, key in official.items()}


@pytest.mark.parametrize('entry', [name for name in zoo.entries()
                                   if name.startswith('dino-') and 'convnext' in name])
def test_detrex_s_published_models_fit_their_configs(entry):
    name = Path(zoo.entry(entry).config).stem
    wanted = meta_model(name).state_dict()
    names = detrex_names(meta_model(name).backbone.depths)
    file = in_detrex_s_names(wanted, names)
    assert set(file) == set(names)
    report, fitted = match(wanted, file, name)
    assert not report.missing and not report.unexpected and set(fitted) == set(wanted)
    positions = config(name).model.positional_encoding
    assert (positions.temperature, positions.offset) == (10000, -.5)


@torch.no_grad()
def test_detrex_s_dino_becomes_mmdet_s(tmp_path):
    """Each tensor by its place in the computation, one by one, where the names differ."""
    model = randomise(tiny('dino', dict(type='convnext_dense.ConvNeXt', arch=ARCH), 5))
    names = detrex_names(DEPTHS, layers=1)
    numbered = in_detrex_s_names(model.state_dict(), names)
    for theirs, ours in {
            'transformer.level_embeds': 'level_embed',
            'transformer.tgt_embed.weight': 'query_embedding.weight',
            'transformer.enc_output.weight': 'memory_trans_fc.weight',
            'transformer.enc_output_norm.bias': 'memory_trans_norm.bias',
            'label_enc.weight': 'dn_query_generator.label_embedding.weight',
            'class_embed.1.bias': 'bbox_head.cls_branches.1.bias',
            'bbox_embed.0.layers.0.weight': 'bbox_head.reg_branches.0.0.weight',
            'bbox_embed.0.layers.1.weight': 'bbox_head.reg_branches.0.2.weight',
            'transformer.decoder.bbox_embed.1.layers.2.bias': 'bbox_head.reg_branches.1.4.bias',
            'neck.convs.2.norm.weight': 'neck.convs.2.gn.weight',
            'neck.extra_convs.0.conv.bias': 'neck.extra_convs.0.conv.bias',
            'transformer.encoder.layers.0.attentions.0.value_proj.weight':
                'encoder.layers.0.self_attn.value_proj.weight',
            'transformer.decoder.layers.0.attentions.0.attn.in_proj_weight':
                'decoder.layers.0.self_attn.attn.in_proj_weight',
            'transformer.decoder.layers.0.attentions.1.sampling_offsets.bias':
                'decoder.layers.0.cross_attn.sampling_offsets.bias',
            'transformer.decoder.layers.0.ffns.0.layers.1.weight':
                'decoder.layers.0.ffn.layers.1.weight',
            'transformer.decoder.layers.0.norms.2.weight': 'decoder.layers.0.norms.2.weight',
            'transformer.decoder.ref_point_head.layers.1.weight':
                'decoder.ref_point_head.layers.1.weight'}.items():
        assert torch.equal(numbered[theirs], model.state_dict()[ours]), theirs
    path = tmp_path / 'model_final.pth'
    torch.save(dict(model=numbered, iteration=89999), path)
    other = tiny('dino', dict(type='convnext_dense.ConvNeXt', arch=ARCH), 5)
    report = load_weights(other, path)
    assert not report.missing and not report.unexpected
    assert all(torch.equal(value, model.state_dict()[key])
               for key, value in other.state_dict().items())
    described = inspect_checkpoint(path)
    assert (described['project'], described['program']) == ("detrex's DINO", 'detectron2')
    assert described['kind'] == 'detector' and described['classes'] == 5


def test_detrex_s_classes_are_coco_s():
    assert classes_of({}, {'class_embed.0.weight': torch.zeros(80, 4)})[:2] == ['person', 'bicycle']
    panoptic = classes_of({}, {'panoptic_head.cls_embed.weight': torch.zeros(134, 4)})
    assert len(panoptic) == 133 and panoptic[80] == 'banner'


@pytest.mark.parametrize('spoil, told', [
    (lambda state: state.pop('transformer.enc_output.bias'), 'lacks memory_trans_fc.bias'),
    (lambda state: state.update({'transformer.more.weight': torch.ones(1)}),
     'has transformer.more.weight, which .* no place for'),
    (lambda state: state.update({'class_embed.0.weight': torch.ones(6, 256),
                                 'transformer.decoder.class_embed.0.weight': torch.ones(6, 256)}),
     r'bbox_head.cls_branches.0.weight has the shape \(6, 256\)')])
def test_what_does_not_fit_of_detrex_s_is_named(spoil, told):
    model = tiny('dino', dict(type='convnext_dense.ConvNeXt', arch=ARCH), 5)
    state = in_detrex_s_names(model.state_dict(), detrex_names(DEPTHS, layers=1))
    spoil(state)
    with pytest.raises(InputError, match=told):
        load_weights(model, dict(model=state))


def test_a_detector_of_detrex_exports_in_mmdet_s_names():
    from convnext_dense.checkpoints.export import convert_state
    model = tiny('dino', dict(type='convnext_dense.ConvNeXt', arch=ARCH), 5)
    state = in_detrex_s_names(model.state_dict(), detrex_names(DEPTHS, layers=1))
    exported, name, _ = convert_state(state, 'mmpretrain')
    found = recognise(exported)
    backbone, rest = to_official(exported, found)
    assert name == 'mmpretrain' and found.format is FORMATS['mmpretrain']
    assert set(from_official(backbone, FORMATS['official'], 'backbone.')) | set(rest) == set(
        model.state_dict())
