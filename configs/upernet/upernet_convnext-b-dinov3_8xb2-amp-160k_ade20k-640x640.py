"""A recipe of this project: none was published for DINOv3's ConvNeXt-B with this head."""
_base_ = 'upernet_convnext-b-in22k_8xb2-amp-160k_ade20k-640x640.py'
published = None
recipe = 'convnext_dense'

model = dict(backbone=dict(init_cfg=dict(checkpoint='convnext-base_dinov3')))
