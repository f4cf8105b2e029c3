_base_ = 'cascade-mask-rcnn_x101-32x4d_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py'
published = 'coco/cascade_resnext101-64x4d_in1k'

model = dict(
    backbone=dict(
        groups=64,
        init_cfg=dict(
            checkpoint='open-mmlab://resnext101_64x4d')))
