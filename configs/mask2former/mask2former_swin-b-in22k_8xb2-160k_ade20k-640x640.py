_base_ = 'mask2former_swin-b_8xb2-160k_ade20k-640x640.py'
published = 'mask2former_ade20k/mask2former_swin-b_in22k-384'

model = dict(
    backbone=dict(
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
                       'swin_base_patch4_window12_384_22k.pth')))
