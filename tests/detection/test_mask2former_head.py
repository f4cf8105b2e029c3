"""Mask2Former's head with fewer maps in full size, against those of mmdet and mmseg."""
import pytest
import torch
from mmdet.models.dense_heads import Mask2FormerHead as MMDetMask2FormerHead
from mmdet.models.task_modules.samplers import MaskPseudoSampler
from mmdet.models.utils import get_uncertain_point_coords_with_randomness
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from convnext_dense.detection import mask2former_head
from convnext_dense.detection.mask2former_head import (
    Mask2FormerHead,
    sample_together,
    uncertain_points,
)

CLASSES, QUERIES, CHANNELS = 4, 12, 32


def config():
    attention = dict(embed_dims=CHANNELS, num_heads=4, dropout=0., batch_first=True)
    feed_forward = dict(embed_dims=CHANNELS, feedforward_channels=48, num_fcs=2, ffn_drop=0.,
                        act_cfg=dict(type='ReLU', inplace=True))
    positions = dict(num_feats=CHANNELS // 2, normalize=True)
    return ConfigDict(
        in_channels=[8, 12, 16, 20], strides=[4, 8, 16, 32], feat_channels=CHANNELS,
        out_channels=CHANNELS, num_things_classes=CLASSES, num_stuff_classes=0,
        num_queries=QUERIES, num_transformer_feat_level=3, positional_encoding=positions,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder', num_outs=3, norm_cfg=dict(type='GN', num_groups=4),
            positional_encoding=positions,
            encoder=dict(num_layers=1, layer_cfg=dict(
                self_attn_cfg=dict(attention, num_levels=3, num_points=2),
                ffn_cfg=feed_forward))),
        transformer_decoder=dict(
            return_intermediate=True, num_layers=3, init_cfg=None, layer_cfg=dict(
                self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=feed_forward)),
        loss_cls=dict(type='CrossEntropyLoss', loss_weight=2., class_weight=[1.] * CLASSES + [.1]),
        loss_mask=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=5.),
        loss_dice=dict(type='DiceLoss', use_sigmoid=True, activate=True, naive_dice=True, eps=1.,
                       loss_weight=5.),
        train_cfg=dict(
            num_points=60, oversample_ratio=3., importance_sample_ratio=.75,
            sampler=dict(type='MaskPseudoSampler'),
            assigner=dict(type='HungarianAssigner', match_costs=[
                dict(type='ClassificationCost', weight=2.),
                dict(type='CrossEntropyLossCost', weight=5., use_sigmoid=True),
                dict(type='DiceCost', weight=5., pred_act=True, eps=1.)])))


def heads():
    init_default_scope('mmdet')
    torch.manual_seed(0)
    theirs = MMDetMask2FormerHead(**config())
    ours = Mask2FormerHead(**config())
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def maps(images=2, height=64, width=96, dtype=torch.float32):
    torch.manual_seed(1)
    return [torch.randn(images, channels, height // stride, width // stride, dtype=dtype).to(
        memory_format=torch.channels_last) for channels, stride in zip((8, 12, 16, 20),
                                                                       (4, 8, 16, 32))]


def objects(numbers=(3, 5)):
    torch.manual_seed(2)
    masks = [torch.zeros(number, 64, 96, dtype=torch.long) for number in numbers]
    for image in masks:
        for mask in image:
            top, left = torch.randint(40, (2, )).tolist()
            mask[top:top + 20, left:left + 30] = 1
    return [InstanceData(labels=torch.randint(CLASSES, (len(image), )), masks=image)
            for image in masks]


def losses(head, instances, dtype=torch.float32):
    x = [level.requires_grad_() for level in maps(len(instances), dtype=dtype)]
    torch.manual_seed(3)
    result = head.loss_by_feat(*head(x, []), instances, [{}] * len(instances))
    wanted = [*x, *head.parameters()]
    gradients = torch.autograd.grad(sum(result.values()), wanted, allow_unused=True)
    return {**result, **{number: grad for number, grad in enumerate(gradients)
                         if grad is not None}}


def assert_same(ours, theirs, tolerance):
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert (ours[name] - expected).abs().max() <= tolerance * expected.abs().max(), name


@pytest.mark.parametrize('numbers', [(3, 5), (4, 0), (2, )], ids=str)
def test_losses_and_gradients_are_mmdets(numbers):
    both = [losses(head, objects(numbers)) for head in heads()]
    assert len(both[0]) > 60
    assert_same(*both, 1e-4)


def test_without_any_object_the_mask_losses_are_zero_and_connected():
    both = [losses(head, objects((0, 0))) for head in heads()]
    assert both[0]['loss_mask'] == both[0]['loss_dice'] == 0
    assert_same(*both, 1e-4)


@pytest.mark.parametrize('images', [1, 2])
def test_scores_and_masks_are_mmdets(images):
    for ours, theirs in zip(*(head.eval()(maps(images), []) for head in heads()), strict=True):
        for found, expected in zip(ours, theirs, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


class OtherSampler(MaskPseudoSampler):
    """A sampler of a user's own."""


def test_a_sampler_of_ones_own_is_asked(monkeypatch):
    ours, theirs = heads()
    for head in (ours, theirs):
        head.sampler = OtherSampler()
    monkeypatch.setattr(mask2former_head, 'sample_together', None)  # ours would fail
    assert_same(*(losses(head, objects()) for head in (ours, theirs)), 1e-4)


def test_autocast_gets_mmdets_way():
    ours, theirs = (head.eval() for head in heads())
    with torch.autocast('cpu', torch.bfloat16), torch.no_grad():
        for found, expected in zip(ours(maps(), []), theirs(maps(), [])):
            assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize('share', [.75, 1.])
def test_points_are_those_of_mmdet(share):
    masks = torch.randn(3, 16, 24, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(5)
    ours = uncertain_points(masks, 40, 3., share)
    torch.manual_seed(5)
    theirs = get_uncertain_point_coords_with_randomness(masks[:, None], None, 40, 3., share)
    for found, expected in zip(ours, theirs, strict=True):  # in another order
        assert sorted(found.tolist()) == sorted(expected.tolist())


@pytest.mark.parametrize('number', [0, 1, 3, 6, 8])
def test_masks_sampled_together(number):
    from mmcv.ops import point_sample
    torch.manual_seed(0)
    masks, points = torch.randn(number, 5, 7), torch.rand(1, 9, 2)
    found = sample_together(masks, points)
    assert found.shape == (number, 9)
    for sampled, mask in zip(found, masks):
        torch.testing.assert_close(sampled, point_sample(mask[None, None], points)[0, 0])


def test_gradients_of_maps_are_those_of_small_differences():
    torch.manual_seed(0)
    tensors = [torch.randn(*shape, dtype=torch.double, requires_grad=True)
               for shape in ((2, 5, 3), (2, 3, 4, 2))]
    few = torch.zeros(2, 5, 1, 1, dtype=torch.double)
    few[0, 3], few[1, ::2] = 1, 1
    assert torch.autograd.gradcheck(
        lambda *args: mask2former_head._QueryMaps.apply(*args) * few, tensors)


def scoped(cfg):
    """A config whose nested types are mmdet's from any scope."""
    for value in cfg.values() if isinstance(cfg, dict) else cfg:
        if isinstance(value, (dict, list)):
            scoped(value)
    if isinstance(cfg, dict) and cfg.get('type') and cfg['type'] not in ('GN', 'ReLU'):
        cfg['type'] = f'mmdet.{cfg["type"]}'
    return cfg


@pytest.mark.parametrize('labels', [(0, 2), (255, )], ids=str)
def test_a_semantic_head_has_mmsegs_losses(labels):
    from mmengine.structures import PixelData
    from mmseg.models.decode_heads import Mask2FormerHead as MMSegMask2FormerHead
    from mmseg.structures import SegDataSample

    from convnext_dense.detection import SegMask2FormerHead
    init_default_scope('mmseg')
    both, maps_of_labels = [], torch.tensor(labels)[torch.randint(
        len(labels), (2, 1, 4, 6), generator=torch.Generator().manual_seed(6))]
    samples = [SegDataSample(gt_sem_seg=PixelData(
        data=one.repeat_interleave(16, 1).repeat_interleave(16, 2))) for one in maps_of_labels]
    for kind in (SegMask2FormerHead, MMSegMask2FormerHead):
        torch.manual_seed(0)
        head = kind(num_classes=CLASSES, **scoped(config()))
        torch.manual_seed(3)
        both.append(head.loss(maps(), samples, None))
    assert len(both[0]) == 12
    assert_same(*both, 1e-4)


def test_the_cost_of_cross_entropy_is_mmdets():
    from mmdet.models.task_modules.assigners import CrossEntropyLossCost as MMDetCost

    from convnext_dense.detection import CrossEntropyLossCost
    torch.manual_seed(0)
    logits, targets = torch.randn(7, 300) * 30, torch.rand(3, 300).round()
    arguments = InstanceData(masks=logits), InstanceData(masks=targets)
    ours, theirs = (kind(weight=5.)(*arguments) for kind in (CrossEntropyLossCost, MMDetCost))
    torch.testing.assert_close(ours, theirs)
