_base_ = 'linear_convnext-t-dinov3_1xb16-40k_ade20k-512x512.py'
published = 'ade20k_linear/linear_convnext-s_dinov3'

model = dict(
    backbone=dict(arch='small', init_cfg=dict(checkpoint='convnext-small_dinov3')))
