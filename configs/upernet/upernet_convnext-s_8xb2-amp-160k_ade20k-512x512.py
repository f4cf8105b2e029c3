_base_ = 'upernet_convnext-t_8xb2-amp-160k_ade20k-512x512.py'
published = 'ade20k/upernet_convnext-s_in1k'

model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.3,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_small_1k_224_ema.pth')))
