_base_ = 'dino-4scale_convnext-l_8xb2-12e_coco.py'
published = 'dino/dino-4scale_convnext-l_in22k-in1k-384'

model = dict(
    backbone=dict(
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_1k_384.pth')))
