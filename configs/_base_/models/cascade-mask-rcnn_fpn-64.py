"""Cascade Mask R-CNN for small images and CPUs: 64 channels, short heads, few RoIs.

A config adds the backbone, ``neck.in_channels`` and, where it is not 5, the number of classes.
The backbone starts from nothing, so that neck and heads have batch norms.
"""
_base_ = 'cascade-mask-rcnn_fpn.py'

norm_cfg = dict(type='SyncBN', requires_grad=True)
strides = [4, 8, 16, 32]
roi_extractor = dict(
    type='convnext_dense.SingleRoIExtractor',
    out_channels=64,
    featmap_strides=strides,
    finest_scale=28)
model = dict(
    neck=dict(out_channels=64, num_outs=len(strides), norm_cfg=norm_cfg),
    rpn_head=dict(
        in_channels=64, feat_channels=64, anchor_generator=dict(scales=[5], strides=strides)),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        bbox_head=[
            dict(
                type='Shared2FCBBoxHead',
                in_channels=64,
                fc_out_channels=256,
                roi_feat_size=7,
                num_classes=5,
                bbox_coder=head.bbox_coder,
                reg_class_agnostic=True,
                loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
                loss_bbox=dict(type='SmoothL1Loss', beta=1.))
            for head in _base_.model.roi_head.bbox_head
        ],
        mask_roi_extractor=roi_extractor,
        mask_head=dict(
            num_convs=2, in_channels=64, conv_out_channels=64, num_classes=5)),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=300, max_per_img=100),
        rcnn=[
            dict(stage, sampler=dict(stage.sampler, num=32))
            for stage in _base_.model.train_cfg.rcnn
        ]),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100), rcnn=dict(max_per_img=50)))
