"""The published row started at 384x384; of ConvNeXt-T and -S no such file was released."""
_base_ = 'dino-4scale_convnext-t_8xb2-12e_coco.py'
published = 'dino/dino-4scale_convnext-s_in1k-384'

model = dict(
    backbone=dict(
        arch='small',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_small_1k_224_ema.pth')))
