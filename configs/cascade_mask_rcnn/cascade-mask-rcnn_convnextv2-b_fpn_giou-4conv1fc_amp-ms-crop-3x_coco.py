"""A recipe of this project: none was published for ConvNeXt V2 with this head."""
_base_ = 'cascade-mask-rcnn_convnext-b_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py'
published = None
recipe = 'convnext_dense'

model = dict(
    backbone=dict(
        use_grn=True,
        layer_scale_init_value=0.,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/'
                       'convnextv2/im1k/convnextv2_base_1k_224_ema.pt')))
