"""A recipe of this project: none was published for ConvNeXt-S with this head."""
_base_ = 'mask2former_convnext-t_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        arch='small',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_small_1k_224_ema.pth')))
