"""Positions, noise and neck are those of mmdet, which trained this row."""
_base_ = [
    '../_base_/models/dino-4scale.py',
    '../_base_/datasets/coco_detr.py',
    '../_base_/schedules/coco_12e_detr.py',
    '../_base_/optimizers/detr.py',
    '../_base_/runtime/detection.py',
]
published = 'dino/dino-4scale_r50_in1k'

model = dict(
    backbone=dict(
        type='ResNet',
        depth=50,
        out_indices=(1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(
            type='convnext_dense.Pretrained', checkpoint='torchvision://resnet50')),
    neck=dict(in_channels=[512, 1024, 2048], bias='auto'),
    positional_encoding=dict(offset=0., temperature=20),
    dn_cfg=dict(label_noise_scale=0.5))
