"""A recipe of this project: none was published for DINOv3's ConvNeXt-B with this head."""
_base_ = 'dino-4scale_convnext-b_8xb2-12e_coco.py'
published = None
recipe = 'convnext_dense'

model = dict(backbone=dict(init_cfg=dict(checkpoint='convnext-base_dinov3')))
