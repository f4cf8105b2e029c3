"""RPNHead proposes what mmdet's does, with one suppression a level."""
from unittest import mock

import pytest
import torch
from mmengine.config import ConfigDict

from convnext_dense.registry import MODELS

SIZES = [(24, 32), (12, 16), (6, 8)]
OPTIONS = dict(
    in_channels=4,
    feat_channels=4,
    anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[.5, 1., 2.],
                          strides=[4, 8, 16]),
    bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
    loss_bbox=dict(type='L1Loss'))


def proposals(scope, maps, nms, **settings):
    cfg = ConfigDict(nms_pre=300, max_per_img=200, nms=nms, **settings)
    head = MODELS.build(dict(OPTIONS, type=f'{scope}.RPNHead', test_cfg=cfg))
    with mock.patch('mmcv.ops.nms.NMSop.apply', wraps=torch_nms()) as suppress:
        found = head.predict_by_feat(*maps, cfg=cfg, batch_img_metas=[
            dict(img_shape=(96, 128)) for _ in range(2)])
    assert cfg.nms == nms  # is left as it was
    return found, suppress.call_count


def torch_nms():
    from mmcv.ops.nms import NMSop
    return NMSop.apply


@pytest.fixture(scope='module')
def maps():
    import mmdet.models  # noqa: F401
    torch.manual_seed(0)
    return [torch.randn(2, 3, *size) * 2 for size in SIZES], \
        [torch.randn(2, 12, *size) * .2 for size in SIZES]


@pytest.mark.parametrize('settings', [{}, dict(min_bbox_size=12)])
def test_proposals_are_mmdets(maps, settings):
    nms = dict(type='nms', iou_threshold=.5)
    ours, calls = proposals('convnext_dense', maps, nms, **settings)
    theirs, calls_of_mmdet = proposals('mmdet', maps, nms, **settings)
    assert (calls, calls_of_mmdet) == (6, 2)  # two pictures of three levels
    for mine, other in zip(ours, theirs, strict=True):
        assert 50 < len(mine) == len(other)
        assert torch.equal(mine.bboxes, other.bboxes)
        assert torch.equal(mine.scores, other.scores)


def test_the_configs_threshold_overrides(maps):
    assert proposals('convnext_dense', maps, dict(
        type='nms', iou_threshold=.5, split_thr=5000))[1] == 2


def test_no_box_is_no_proposal(maps):
    found, calls = proposals('convnext_dense', maps, dict(type='nms', iou_threshold=.5),
                             min_bbox_size=1000)
    assert calls == 0 and [len(result) for result in found] == [0, 0]
