_base_ = 'dino-4scale_convnext-t_8xb2-12e_coco.py'
published = 'dino/dino-4scale_convnext-b_in1k-384'

model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_1k_384.pth')),
    neck=dict(in_channels=[256, 512, 1024]))
