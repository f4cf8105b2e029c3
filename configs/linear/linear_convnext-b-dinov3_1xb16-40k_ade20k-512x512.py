_base_ = 'linear_convnext-t-dinov3_1xb16-40k_ade20k-512x512.py'
published = 'ade20k_linear/linear_convnext-b_dinov3'

model = dict(
    backbone=dict(arch='base', init_cfg=dict(checkpoint='convnext-base_dinov3')),
    decode_head=dict(in_channels=1024))
