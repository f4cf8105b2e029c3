"""A recipe of this project: none was published for ConvNeXt V2-Pico with this head."""
_base_ = 'rtmdet-tiny_convnextv2-atto_4xb32-100e_coco.py'

model = dict(
    backbone=dict(
        arch='pico',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/'
                       'convnextv2/im1k/convnextv2_pico_1k_224_ema.pt')),
    neck=dict(in_channels=[128, 256, 512]))
