"""A recipe of this project: a third of the published schedule of Swin-T."""
_base_ = 'cascade-mask-rcnn_swin-t_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py'
published = None
recipe = 'convnext_dense'

train_cfg = dict(max_epochs=12)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),
]
