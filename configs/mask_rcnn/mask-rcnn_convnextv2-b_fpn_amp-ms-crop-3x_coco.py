"""A recipe of this project: that of ConvNeXt-T; what was published has large-scale jitter."""
_base_ = 'mask-rcnn_convnext-t_fpn_amp-ms-crop-3x_coco.py'
published = None
recipe = 'convnext_dense'

model = dict(
    backbone=dict(
        arch='base',
        use_grn=True,
        layer_scale_init_value=0.,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/'
                       'convnextv2/pt_only/convnextv2_base_1k_224_fcmae.pt')),
    neck=dict(in_channels=[128, 256, 512, 1024]))
