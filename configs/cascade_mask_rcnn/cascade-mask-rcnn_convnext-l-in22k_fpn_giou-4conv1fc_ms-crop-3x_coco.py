_base_ = 'cascade-mask-rcnn_convnext-b-in22k_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py'
published = 'coco/cascade_convnext-l_in22k'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.7,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth')),
    neck=dict(in_channels=[192, 384, 768, 1536]))
optim_wrapper = dict(type='OptimWrapper', paramwise_cfg=dict(decay_rate=0.7))
