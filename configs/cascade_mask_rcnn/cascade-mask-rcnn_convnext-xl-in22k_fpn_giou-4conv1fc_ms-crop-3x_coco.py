_base_ = 'cascade-mask-rcnn_convnext-l-in22k_fpn_giou-4conv1fc_ms-crop-3x_coco.py'
published = 'coco/cascade_convnext-xl_in22k'

model = dict(
    backbone=dict(
        arch='xlarge',
        drop_path_rate=0.8,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_xlarge_22k_224.pth')),
    neck=dict(in_channels=[256, 512, 1024, 2048]))
