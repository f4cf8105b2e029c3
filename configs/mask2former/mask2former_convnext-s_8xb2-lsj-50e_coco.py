"""A recipe of this project: none was published for ConvNeXt-S with this head."""
_base_ = 'mask2former_convnext-t_8xb2-lsj-50e_coco.py'

model = dict(
    backbone=dict(
        arch='small',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_small_1k_224_ema.pth')))
