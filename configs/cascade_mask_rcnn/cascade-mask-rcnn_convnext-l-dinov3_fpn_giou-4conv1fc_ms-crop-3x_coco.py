"""A recipe of this project: none was published for DINOv3's ConvNeXt-L with this head."""
_base_ = 'cascade-mask-rcnn_convnext-l-in22k_fpn_giou-4conv1fc_ms-crop-3x_coco.py'
published = None
recipe = 'convnext_dense'

model = dict(backbone=dict(init_cfg=dict(checkpoint='convnext-large_dinov3')))
