_base_ = 'cascade-mask-rcnn_convnext-s_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py'
published = 'coco/cascade_convnext-b_in1k'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.7,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_1k_224_ema.pth')),
    neck=dict(in_channels=[128, 256, 512, 1024]))
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.8))
