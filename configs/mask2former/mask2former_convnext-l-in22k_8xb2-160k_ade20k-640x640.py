"""A recipe of this project: none was published for ConvNeXt-L with this head."""
_base_ = 'mask2former_convnext-b-in22k_8xb2-160k_ade20k-640x640.py'
published = None

model = dict(
    backbone=dict(
        arch='large',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth')),
    decode_head=dict(in_channels=[192, 384, 768, 1536]))
