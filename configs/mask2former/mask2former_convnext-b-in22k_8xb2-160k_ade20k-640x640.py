_base_ = 'mask2former_convnext-b_8xb2-160k_ade20k-640x640.py'
published = 'mask2former_ade20k/mask2former_convnext-b_in22k'

model = dict(
    backbone=dict(
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth')))
