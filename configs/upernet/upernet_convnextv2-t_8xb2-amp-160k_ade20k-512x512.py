"""A recipe of this project: none was published for ConvNeXt V2 with this head."""
_base_ = 'upernet_convnext-t_8xb2-amp-160k_ade20k-512x512.py'
published = None
recipe = 'convnext_dense'

model = dict(
    backbone=dict(
        use_grn=True,
        layer_scale_init_value=0.,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/'
                       'convnextv2/im1k/convnextv2_tiny_1k_224_ema.pt')))
