_base_ = [
    '../_base_/models/cascade-mask-rcnn_fpn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/coco_3x.py',
    '../_base_/optimizers/swin_coco.py',
    '../_base_/runtime/detection.py',
]
published = 'coco/cascade_resnext101-32x4d_in1k'

model = dict(
    backbone=dict(
        type='ResNeXt',
        depth=101,
        groups=32,
        base_width=4,
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(
            type='convnext_dense.Pretrained', checkpoint='open-mmlab://resnext101_32x4d')),
    neck=dict(in_channels=[256, 512, 1024, 2048]))
