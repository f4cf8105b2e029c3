_base_ = 'upernet_convnext-b-in22k_8xb2-amp-160k_ade20k-640x640.py'
published = 'ade20k/upernet_convnext-l_in22k'

model = dict(
    backbone=dict(
        arch='large',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth')),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768))
optim_wrapper = dict(type='OptimWrapper')
