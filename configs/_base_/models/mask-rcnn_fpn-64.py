"""Mask R-CNN for small images and CPUs: 64 channels, short heads, few RoIs.

A config adds the backbone, ``neck.in_channels`` and the number of classes. The backbone starts
from nothing, so that the neck has batch norms.
"""
_base_ = 'mask-rcnn_fpn.py'

strides = [4, 8, 16, 32]
extractor = dict(out_channels=64, featmap_strides=strides, finest_scale=28)
model = dict(
    neck=dict(
        out_channels=64,
        num_outs=len(strides),
        norm_cfg=dict(type='SyncBN', requires_grad=True)),
    rpn_head=dict(
        in_channels=64, feat_channels=64, anchor_generator=dict(scales=[5], strides=strides)),
    roi_head=dict(
        bbox_roi_extractor=extractor,
        bbox_head=dict(in_channels=64, fc_out_channels=256, reg_class_agnostic=True),
        mask_roi_extractor=extractor,
        mask_head=dict(num_convs=2, in_channels=64, conv_out_channels=64)),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=300, max_per_img=100),
        rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100)))
