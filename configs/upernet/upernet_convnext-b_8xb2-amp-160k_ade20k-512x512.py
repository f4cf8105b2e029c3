_base_ = 'upernet_convnext-s_8xb2-amp-160k_ade20k-512x512.py'
published = 'ade20k/upernet_convnext-b_in1k'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.4,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_1k_224_ema.pth')),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512))
