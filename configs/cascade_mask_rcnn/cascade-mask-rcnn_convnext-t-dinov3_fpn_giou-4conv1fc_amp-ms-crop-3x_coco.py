"""A recipe of this project: none was published for DINOv3's ConvNeXt-T with this head."""
_base_ = 'cascade-mask-rcnn_convnext-t_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py'
published = None
recipe = 'convnext_dense'

model = dict(backbone=dict(init_cfg=dict(checkpoint='convnext-tiny_dinov3')))
