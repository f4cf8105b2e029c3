_base_ = 'mask2former_swin-b-in22k_8xb2-160k_ade20k-640x640.py'
published = 'mask2former_ade20k/mask2former_swin-l_in22k-384'

model = dict(
    backbone=dict(
        embed_dims=192,
        num_heads=[6, 12, 24, 48],
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
                       'swin_large_patch4_window12_384_22k.pth')),
    decode_head=dict(in_channels=[192, 384, 768, 1536]))
