"""A recipe of this project: none was published for ConvNeXt V2 with this head."""
_base_ = 'upernet_convnextv2-b_8xb2-amp-160k_ade20k-512x512.py'
published = 'v2_dense/upernet_convnextv2-l_fcmae-in1k'

model = dict(
    backbone=dict(
        arch='large',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/'
                       'convnextv2/im1k/convnextv2_large_1k_224_ema.pt')),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768))
optim_wrapper = dict(type='OptimWrapper')
