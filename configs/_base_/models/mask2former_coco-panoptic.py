"""Mask2Former for COCO's things and stuff, for any backbone, trained on 1024x1024 crops.

A config adds the backbone and ``panoptic_head.in_channels``.
"""
_base_ = 'mask2former_512x512.py'

things, stuff = 80, 53
size = (1024, 1024)
head = {key: value for key, value in _base_.model.decode_head.items()
        if key not in ('num_classes', 'align_corners', 'train_cfg')}
model = dict(
    _delete_=True,
    type='convnext_dense.Mask2Former',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_mask=True,
        mask_pad_value=0,
        pad_seg=True,
        seg_pad_value=255,
        batch_augments=[
            dict(
                type='BatchFixedSizePad',
                size=size,
                img_pad_value=0,
                pad_mask=True,
                mask_pad_value=0,
                pad_seg=True,
                seg_pad_value=255)
        ]),
    panoptic_head=dict(
        head,
        type='convnext_dense.Mask2FormerHead',
        num_things_classes=things,
        num_stuff_classes=stuff,
        loss_cls=dict(head['loss_cls'], class_weight=[1.0] * (things + stuff) + [0.1])),
    panoptic_fusion_head=dict(
        type='convnext_dense.MaskFormerFusionHead',
        num_things_classes=things,
        num_stuff_classes=stuff,
        loss_panoptic=None),
    train_cfg=_base_.model.decode_head.train_cfg,
    test_cfg=dict(
        panoptic_on=True,
        semantic_on=False,
        instance_on=True,
        max_per_image=100,
        iou_thr=0.8,
        filter_low_score=True))
del things, stuff, size, head
