"""The RPN head against mmdet's: losses, all gradients, and what it leaves to mmdet's."""
from unittest import mock

import mmdet.models
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData

from convnext_dense.acceleration import Acceleration, prepare
from convnext_dense.detection import rpn_head

SIZES = [(24, 40), (12, 20), (1, 3)]
TRAIN = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=.7, neg_iou_thr=.3, min_pos_iou=.3),
    sampler=dict(type='RandomSampler', num=32, pos_fraction=.5, add_gt_as_proposals=False),
    allowed_border=-1, pos_weight=-1)
#: every anchor counts: the gradient of no output is zero
UNSAMPLED = dict(TRAIN, sampler=dict(type='PseudoSampler'))


def heads(train_cfg=TRAIN, **options):
    """Ours and mmdet's with the same weights."""
    init_default_scope('mmdet')
    cfg = dict(
        in_channels=8, feat_channels=12, train_cfg=train_cfg,
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[.5, 1., 2.],
                              strides=[4, 8, 16]),
        loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9), **options)
    torch.manual_seed(0)
    expected = MODELS.build(dict(type='RPNHead', **cfg))
    for parameter in expected.parameters():
        torch.nn.init.normal_(parameter, 0., .1)
    ours = MODELS.build(dict(type='convnext_dense.RPNHead', **cfg))
    ours.load_state_dict(expected.state_dict())
    return ours, expected


def feature_maps(channels=8):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, channels, *size, generator=generator) for size in SIZES]


def losses_and_gradients(head, maps):
    maps = [x.clone(memory_format=torch.preserve_format).requires_grad_() for x in maps]
    boxes = torch.tensor([[0., 0., 20., 18.], [40., 50., 100., 95.], [90., 3., 158., 60.]])
    truth = [InstanceData(bboxes=boxes[first:], labels=torch.zeros(3 - first, dtype=torch.long))
             for first in range(2)]
    metas = [dict(img_shape=(96, 160), pad_shape=(96, 160))] * 2
    torch.manual_seed(2)  # of the sampler
    losses = head.loss_by_feat(*head(maps), truth, metas)
    total = sum(sum(values) for values in losses.values())
    wanted = [tensor for tensor in (*maps, *head.parameters()) if tensor.requires_grad]
    grads = torch.autograd.grad(total, wanted)
    return [*(loss.detach() for loss in sum(losses.values(), [])), *grads]


def assert_same(ours, expected):
    assert len(ours) == len(expected)
    for a, b in zip(ours, expected, strict=True):
        assert a.shape == b.shape
        assert float((a - b).abs().max()) <= 1e-5 * float(b.abs().max().clamp(min=1e-6))


@pytest.mark.parametrize('part', [2**20, 100], ids=['whole', 'parts'])
@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('train_cfg', [TRAIN, UNSAMPLED], ids=['sampled', 'all anchors'])
def test_losses_and_gradients_equal_mmdets(train_cfg, channels_last, part, monkeypatch):
    monkeypatch.setattr('convnext_dense.chunks.CHUNK_VALUES', part)
    ours, expected = heads(train_cfg)
    maps = feature_maps()
    if channels_last:
        maps = [x.to(memory_format=torch.channels_last) for x in maps]
        ours.to(memory_format=torch.channels_last)
    with mock.patch.object(rpn_head, '_outputs', wraps=rpn_head._outputs) as used:
        found = losses_and_gradients(ours, maps)
    assert used.called
    assert_same(found, losses_and_gradients(expected, maps))


def test_frozen_parameters_get_no_gradient():
    ours, expected = heads()
    for head in (ours, expected):
        head.rpn_conv.requires_grad_(False)
    assert_same(losses_and_gradients(ours, feature_maps()),
                losses_and_gradients(expected, feature_maps()))


def test_with_a_winograd_convolution():
    torch.manual_seed(0)
    ours, expected = heads()
    for head in (ours, expected):
        head.rpn_conv = torch.nn.Conv2d(128, 128, 3, padding=1)
        head.rpn_cls, head.rpn_reg = torch.nn.Conv2d(128, 3, 1), torch.nn.Conv2d(128, 12, 1)
    ours.load_state_dict(expected.state_dict())
    prepare(ours, 'train', settings=Acceleration(winograd=True))
    assert_same(losses_and_gradients(ours, feature_maps(128)),
                losses_and_gradients(expected, feature_maps(128)))


def test_gradient_that_is_no_number_is_not_lost():
    ours, _ = heads()
    x = feature_maps()[0].requires_grad_()
    scores, deltas = ours.forward_single(x)
    grad = torch.zeros_like(scores)
    grad[1, 2, 3, 4] = float('nan')
    found, = torch.autograd.grad([scores, deltas], [x], [grad, torch.zeros_like(deltas)])
    assert found.isnan().any(1).nonzero().tolist() == [
        [1, y, x] for y in (2, 3, 4) for x in (3, 4, 5)]


@pytest.mark.parametrize('case', ['several convolutions', 'without gradients', 'autocast'])
def test_left_to_mmdet(case):
    ours, expected = heads(num_convs=2 if case == 'several convolutions' else 1)
    x = feature_maps()[0]
    with mock.patch.object(rpn_head._GradientsOfFewPixels, 'apply') as apply, \
            torch.set_grad_enabled(case != 'without gradients'), \
            torch.autocast('cpu', enabled=case == 'autocast'):
        found, same = ours.forward_single(x), expected.forward_single(x)
    assert not apply.called
    for a, b in zip(found, same, strict=True):
        assert a.equal(b)


def proposals(head, level_shift=0., **cfg):
    """Of two images, from random outputs that favour a level; no two scores are the same."""
    generator = torch.Generator().manual_seed(3)
    numbers = [6 * height * width for height, width in SIZES]
    scores = torch.randperm(sum(numbers), generator=generator) / sum(numbers) * 6 - 3
    scores = [values.view(2, 3, *size) + level_shift * level
              for level, (values, size) in enumerate(zip(scores.split(numbers), SIZES))]
    deltas = [torch.randn(2, 12, *size, generator=generator) * .3 for size in SIZES]
    metas = [dict(img_shape=(96, 160), scale_factor=(1., 1.))] * 2
    return head.predict_by_feat(scores, deltas, batch_img_metas=metas, cfg=ConfigDict(
        {**dict(nms=dict(type='nms', iou_threshold=.7), nms_pre=500, min_bbox_size=0), **cfg}))


@pytest.mark.parametrize('level_shift', [0., 3.])
@pytest.mark.parametrize('cfg', [
    dict(max_per_img=20), dict(max_per_img=100), dict(max_per_img=2000),
    dict(max_per_img=60, nms=dict(type='nms', iou_threshold=.1)),
    dict(max_per_img=30, min_bbox_size=12), dict(max_per_img=30, nms_pre=1000000),
    dict(max_per_img=30, nms_pre=0), dict(max_per_img=0), dict(max_per_img=5, nms_pre=1),
    dict(max_per_img=60, nms=dict(type='soft_nms', iou_threshold=.3, min_score=.05)),
    dict(max_per_img=60, nms=dict(type='nms', iou_threshold=.5, split_thr=50))], ids=str)
def test_proposals_equal_mmdets(cfg, level_shift):
    ours, expected = heads()
    for found, same in zip(proposals(ours, level_shift, **cfg),
                           proposals(expected, level_shift, **cfg), strict=True):
        assert set(found.keys()) == set(same.keys())
        for key in found.keys():
            torch.testing.assert_close(found[key], same[key], rtol=1e-6, atol=1e-5)


def test_suppression_ends_when_there_are_enough(monkeypatch):
    ours, _ = heads()
    numbers, batched_nms = [], mmdet.models.dense_heads.rpn_head.batched_nms

    def counted(boxes, *args):
        numbers.append(len(boxes))
        return batched_nms(boxes, *args)
    monkeypatch.setattr('mmdet.models.dense_heads.rpn_head.batched_nms', counted)
    proposals(ours, max_per_img=20)
    assert max(numbers) <= 60 and len(numbers) == 2
    numbers.clear()
    found = proposals(ours, max_per_img=60, nms=dict(type='nms', iou_threshold=.001))
    assert [len(each) < 60 for each in found] == [True, True]
    assert len(numbers) == 8 and numbers == sorted(numbers[:4]) + sorted(numbers[4:])
