"""Masks of the predicted classes only are those that mmdet takes from all classes' masks."""
import copy

import pytest
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead as MMDetFCNMaskHead
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from convnext_dense.acceleration import prepare
from convnext_dense.registry import MODELS

CLASSES, CHANNELS = 5, 64
METAS = [dict(ori_shape=(96, 128), scale_factor=(1., 1.)),
         dict(ori_shape=(90, 64), scale_factor=(1.5, 1.5))]


def roi_heads(base, threshold=.5, **options):
    """Ours and mmdet's, with the same random weights."""
    model = Config.fromfile(f'configs/_base_/models/{base}.py').model
    cfg = model.roi_head
    for extractor in (cfg.bbox_roi_extractor, cfg.mask_roi_extractor):
        extractor.out_channels = CHANNELS
    cfg.mask_head.update(in_channels=CHANNELS, conv_out_channels=CHANNELS, num_convs=2,
                         num_classes=CLASSES, **options)
    for head in cfg.bbox_head if isinstance(cfg.bbox_head, list) else [cfg.bbox_head]:
        head.update(in_channels=CHANNELS, fc_out_channels=8, num_classes=CLASSES)
        if 'conv_out_channels' in head:
            head.conv_out_channels = 8
    cfg.test_cfg = dict(model.test_cfg.rcnn, mask_thr_binary=threshold)
    cfg.train_cfg = model.train_cfg.rcnn
    init_default_scope('mmdet')
    stock = copy.deepcopy(cfg)
    stock.type, stock.mask_head.type = (
        value.removeprefix('convnext_dense.') for value in (cfg.type, cfg.mask_head.type))
    torch.manual_seed(0)
    ours, theirs = MODELS.build(cfg).eval(), MODELS.build(stock).eval()
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if name.endswith('bias'):
                parameter.normal_(0, .1)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def predict(head, numbers, metas=METAS):
    generator = torch.Generator().manual_seed(1)
    maps = [torch.randn(len(numbers), CHANNELS, 96 // stride, 128 // stride, generator=generator)
            for stride in (4, 8, 16, 32)]
    results = []
    for number in numbers:
        corners = torch.rand(number, 2, generator=generator) * torch.tensor([100., 70.])
        sides = torch.rand(number, 2, generator=generator) * 60 + 2
        results.append(InstanceData(
            bboxes=torch.cat([corners, corners + sides], 1), scores=torch.rand(number),
            labels=torch.randint(0, CLASSES, (number, ), generator=generator)))
    with torch.inference_mode():
        return head.predict_mask(maps, metas[:len(numbers)], results, rescale=True)


def assert_equals_mmdet(ours, theirs, numbers):
    for result, expected in zip(predict(ours, numbers), predict(theirs, numbers), strict=True):
        assert torch.equal(result.bboxes, expected.bboxes)
        assert result.masks.dtype == expected.masks.dtype
        assert torch.equal(result.masks, expected.masks)


@pytest.fixture
def all_classes(monkeypatch):
    """The number of RoIs for which the masks of all classes were computed."""
    calls, forward = [], MMDetFCNMaskHead.forward

    def watched(self, x):
        calls.append(len(x))
        return forward(self, x)
    monkeypatch.setattr(MMDetFCNMaskHead, 'forward', watched)
    return calls


@pytest.mark.parametrize('prepared', [False, True])
@pytest.mark.parametrize('base', ['mask-rcnn_fpn', 'cascade-mask-rcnn_fpn'])
@pytest.mark.parametrize('options', [{}, dict(class_agnostic=True)], ids=str)
@pytest.mark.parametrize('numbers', [[30, 9], [0, 12], [1]])
def test_masks_equal_mmdets(base, prepared, options, numbers, all_classes):
    ours, theirs = roi_heads(base, **options)
    if prepared:
        prepare(ours)
    predict(ours, numbers)
    assert not all_classes
    assert_equals_mmdet(ours, theirs, numbers)


def test_no_detections():
    ours, theirs = roi_heads('cascade-mask-rcnn_fpn')
    assert_equals_mmdet(ours, theirs, [0, 0])


@pytest.mark.parametrize('options', [
    dict(threshold=-1), dict(upsample_cfg=dict(type='nearest', scale_factor=2)),
    dict(upsample_cfg=dict(type=None)),
    dict(upsample_cfg=dict(type='deconv', scale_factor=2, groups=2)),
    dict(upsample_cfg=dict(type='deconv', scale_factor=2, padding=1)),
    dict(predictor_cfg=dict(type='Conv', bias=False)),
    dict(predictor_cfg=dict(type='NormedConv2d'))], ids=str)
def test_what_it_does_not_know_is_left_to_mmdet(options, all_classes):
    ours, theirs = roi_heads('mask-rcnn_fpn', **options)
    predict(ours, [4, 5])
    assert all_classes == [9]
    assert_equals_mmdet(ours, theirs, [4, 5])


def test_hooks_are_called(all_classes):
    ours, _ = roi_heads('mask-rcnn_fpn')
    seen = []
    ours.mask_head.conv_logits.register_forward_hook(lambda *args: seen.append(args[2].shape))
    predict(ours, [3])
    assert seen == [(3, CLASSES, 28, 28)]


def test_logits_of_labels_are_channels_of_all_logits():
    ours, _ = roi_heads('mask-rcnn_fpn')
    head, labels = ours.mask_head, torch.tensor([4, 0, 2, 2])
    features = torch.randn(4, CHANNELS, 14, 14)
    with torch.inference_mode():
        expected = head(features)[range(4), labels]
        torch.testing.assert_close(head.forward_labels(features, labels)[:, 0], expected)
