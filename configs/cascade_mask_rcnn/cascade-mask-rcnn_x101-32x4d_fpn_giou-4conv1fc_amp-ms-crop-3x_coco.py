_base_ = 'cascade-mask-rcnn_r50_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py'
published = 'coco/cascade_resnext101-32x4d_in1k'

model = dict(
    backbone=dict(
        type='ResNeXt',
        depth=101,
        groups=32,
        base_width=4,
        init_cfg=dict(
            checkpoint='open-mmlab://resnext101_32x4d')))
