"""A recipe of this project: none was published for DINOv3's ConvNeXt-T with this head."""
_base_ = 'upernet_convnext-t_8xb2-amp-160k_ade20k-512x512.py'
published = None
recipe = 'convnext_dense'

model = dict(backbone=dict(init_cfg=dict(checkpoint='convnext-tiny_dinov3')))
