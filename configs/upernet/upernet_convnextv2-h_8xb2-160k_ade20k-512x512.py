"""A recipe of this project: none was published for ConvNeXt V2 with this head."""
_base_ = 'upernet_convnextv2-l_8xb2-160k_ade20k-512x512.py'
published = 'v2_dense/upernet_convnextv2-h_fcmae-in1k'

model = dict(
    backbone=dict(
        arch='huge',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/'
                       'convnextv2/im1k/convnextv2_huge_1k_224_ema.pt')),
    decode_head=dict(in_channels=[352, 704, 1408, 2816]),
    auxiliary_head=dict(in_channels=1408))
