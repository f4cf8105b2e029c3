"""Layers of classes by their names, against mmdet's and mmseg's own heads."""
import pytest
import torch

from convnext_dense.checkpoints.class_layers import (
    ANCHORED,
    layout_of,
    matched_places,
    number_of_classes,
    rows_by_class,
)
from convnext_dense.checkpoints.fine_tuning import plan_fine_tuning
from convnext_dense.registry import MODELS

OLD, NEW = ('apple', 'kiwi', 'orange'), ('mango', 'Orange', 'plum', 'apple', 'fig')
DENSE = dict(in_channels=8, feat_channels=32)
ANCHORS = dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1,
               ratios=[.5, 1., 2.], strides=[8, 16])
ONE_ANCHOR = dict(type='AnchorGenerator', ratios=[1.], octave_base_scale=8, scales_per_octave=1,
                  strides=[8, 16])
SEGMENTER = dict(in_channels=8, channels=8)
ROI = dict(in_channels=8, fc_out_channels=8, roi_feat_size=2)
#: place in a model: settings of the head
HEADS = {
    'RetinaHead': dict(DENSE, anchor_generator=ANCHORS), 'FCOSHead': DENSE,
    'ATSSHead': dict(DENSE, anchor_generator=ONE_ANCHOR),
    'PAAHead': dict(DENSE, anchor_generator=ONE_ANCHOR),
    'DDODHead': dict(DENSE, anchor_generator=ONE_ANCHOR),
    'TOODHead': dict(DENSE, anchor_generator=ONE_ANCHOR, num_dcn=0),
    'GFLHead': dict(DENSE, anchor_generator=ONE_ANCHOR), 'VFNetHead': DENSE,
    'FSAFHead': dict(DENSE, anchor_generator=ONE_ANCHOR, reg_decoded_bbox=True,
                     bbox_coder=dict(type='TBLRBBoxCoder', normalizer=4.)),
    'FoveaHead': DENSE, 'RepPointsHead': dict(DENSE, point_feat_channels=8),
    'AutoAssignHead': DENSE,
    'SOLOHead': dict(DENSE, num_grids=[4, 4, 4, 4, 4]),
    'YOLOXHead': dict(DENSE, act_cfg=dict(type='ReLU')),
    'YOLOFHead': dict(in_channels=8, anchor_generator=ONE_ANCHOR, num_cls_convs=1, num_reg_convs=1),
    'YOLOV3Head': dict(in_channels=[8, 8, 8], out_channels=[8, 8, 8]),
    'SSDHead': dict(in_channels=[8, 8, 8], anchor_generator=dict(
        type='SSDAnchorGenerator', scale_major=False, input_size=300, strides=[8, 16, 32],
        ratios=[[2], [2, 3], [2]], basesize_ratio_range=(.15, .9))),
    'CenterNetHead': dict(in_channels=8, feat_channels=8),
    'CornerHead': dict(in_channels=8),
    'YOLACTHead': dict(DENSE, anchor_generator=ANCHORS),
    'roi_head.bbox_head Shared2FCBBoxHead': ROI,
    'roi_head.bbox_head DoubleConvFCBBoxHead': dict(
        ROI, num_convs=1, num_fcs=1, conv_out_channels=8, with_avg_pool=True),
    'roi_head.bbox_head MultiInstanceBBoxHead': dict(
        ROI, num_instance=2, with_refine=True, num_shared_fcs=1),
    'roi_head.mask_head FCNMaskHead': dict(in_channels=8, conv_out_channels=8),
    'roi_head.mask_head CoarseMaskHead': dict(in_channels=8, conv_out_channels=8, fc_out_channels=8,
                                              num_fcs=1, roi_feat_size=2, downsample_factor=1),
    'roi_head.point_head MaskPointHead': dict(in_channels=8, fc_channels=8),
    'roi_head.mask_iou_head MaskIoUHead': dict(in_channels=8, conv_out_channels=8,
                                               fc_out_channels=8, roi_feat_size=4),
    'roi_head.glbctx_head GlobalContextHead': dict(in_channels=8, conv_out_channels=8),
    'decode_head mmseg.FCNHead': SEGMENTER, 'decode_head mmseg.DAHead': dict(
        SEGMENTER, pam_channels=4),
    'decode_head mmseg.EncHead': dict(SEGMENTER, in_channels=(8, ), in_index=(0, ),
                                      use_se_loss=True, add_lateral=False),
    'decode_head.1 mmseg.PointHead': dict(in_channels=[8], in_index=[0], channels=8),
    'decode_head mmseg.SegmenterMaskTransformerHead': dict(
        SEGMENTER, num_layers=1, num_heads=2, embed_dims=8),
    'decode_head mmseg.PIDHead': SEGMENTER, 'decode_head mmseg.DDRHead': SEGMENTER}


def state_of(head, classes, seed=0):
    place, _, name = head.rpartition(' ')
    import mmdet.models  # noqa: F401
    import mmseg.models  # noqa: F401
    scope = '' if '.' in name else 'mmdet.'
    built = MODELS.build(dict(HEADS[head], type=scope + name, num_classes=classes))
    generator = torch.Generator().manual_seed(seed)
    return {f'{place or "bbox_head"}.{key}': torch.randn(value.shape, generator=generator)
            for key, value in built.state_dict().items() if value.is_floating_point()}


@pytest.mark.parametrize('head', HEADS)
def test_what_depends_on_the_number_of_classes_is_known_by_name(head):
    old, new = state_of(head, len(OLD)), state_of(head, len(NEW))
    changed = {key for key in new if new[key].shape != old[key].shape}
    assert changed
    for key, value in new.items():
        found = matched_places(key, old[key].shape, value.shape, OLD, NEW)
        if key in changed:
            assert layout_of(key, value.ndim) and found, key
        else:
            assert found is None, key


@pytest.mark.parametrize('head', HEADS)
def test_the_same_number_of_other_classes_is_matched_by_name_as_well(head):
    """What depends on the number of classes is not taken row by row."""
    old, more = state_of(head, len(OLD)), state_of(head, len(OLD) + 1)
    depends = {key for key in old if more[key].shape != old[key].shape}
    for key, value in old.items():
        found = matched_places(key, value.shape, value.shape, OLD, ('fig', 'kiwi', 'apple'))
        if key in depends:
            assert found and any((0, 2) in pairs or len(pairs) < value.shape[dim]
                                 for dim, pairs in found.items()), key
        else:
            assert found is None, key


def plan(head, name):
    """The model's tensor before, the file's, and what is loaded."""
    old, new = state_of(head, len(OLD), 1), state_of(head, len(NEW), 2)
    backbone = {'backbone.stages.0.0.dwconv.weight': torch.zeros(1, 1, 7, 7)}
    loaded = plan_fine_tuning({**new, **backbone}, {**old, **backbone}, NEW, OLD, 'the file')
    assert loaded.kept == ['Orange', 'apple'] and not loaded.started and not loaded.doubtful
    return new[name], old[name], loaded.tensors[name]


def expect(new, old):
    """Class first: those of common names from the file."""
    expected = new.clone()
    expected[1], expected[3] = old[2], old[0]
    return expected


def test_yolov3_s_boxes_and_objectness_stand_before_the_classes_of_each_anchor():
    new, old, loaded = (tensor.view(3, -1, 8) for tensor in plan(
        'YOLOV3Head', 'bbox_head.convs_pred.1.weight'))
    for anchor in range(3):
        assert torch.equal(loaded[anchor, :5], old[anchor, :5])
        assert torch.equal(loaded[anchor, 5:], expect(new[anchor, 5:], old[anchor, 5:]))


def test_ssd_s_background_stands_behind_the_classes_of_each_anchor():
    new, old, loaded = (tensor.view(4, -1, 8, 3, 3) for tensor in plan(
        'SSDHead', 'bbox_head.cls_convs.0.0.weight'))
    for anchor in range(4):
        assert torch.equal(loaded[anchor, -1], old[anchor, -1])
        assert torch.equal(loaded[anchor, :-1], expect(new[anchor, :-1], old[anchor, :-1]))


def test_a_coarse_mask_is_moved_whole():
    new, old, loaded = (tensor.view(-1, 4, 8) for tensor in plan(
        'roi_head.mask_head CoarseMaskHead', 'roi_head.mask_head.fc_logits.weight'))
    assert torch.equal(loaded, expect(new, old))


def test_points_see_the_scores_of_the_same_classes():
    """The coarse scores are the last input channels of each layer of a point head."""
    new, old, loaded = plan('decode_head.1 mmseg.PointHead', 'decode_head.1.fcs.0.conv.weight')
    assert torch.equal(loaded[:, :8], old[:, :8])
    assert torch.equal(loaded[:, 8:].transpose(0, 1), expect(
        new[:, 8:].transpose(0, 1), old[:, 8:].transpose(0, 1)))


def test_all_classes_of_an_anchor_stand_together():
    assert rows_by_class(['a', 'b'], ['b', 'c', 'a'], 4, 6, ANCHORED) == [
        (1, 0), (0, 2), (3, 3), (2, 5)]
    assert rows_by_class(['a', 'b'], ['b', 'c'], 7, 7, ANCHORED) is None


def test_proposals_know_no_classes():
    assert layout_of('rpn_head.atss_cls.weight', 4) is None
    assert layout_of('rpn_head.rpn_cls.weight', 4) is None


@pytest.mark.parametrize('head', [
    'RetinaHead', 'FCOSHead', 'ATSSHead', 'PAAHead', 'TOODHead', 'GFLHead', 'VFNetHead',
    'YOLOFHead', 'YOLOXHead', 'RepPointsHead', 'FSAFHead', 'decode_head mmseg.FCNHead',
    'roi_head.bbox_head Shared2FCBBoxHead'])
def test_the_number_of_classes_is_told_by_shapes(head):
    assert number_of_classes(state_of(head, 7)) == 7


@pytest.mark.parametrize('head', ['YOLACTHead', 'YOLOV3Head'])
def test_where_shapes_leave_a_doubt_no_number_is_told(head):
    assert number_of_classes(state_of(head, 7)) is None
