"""A ResNet of the same size and recipe."""
_base_ = 'cascade-mask-rcnn_convnext_short_shapes.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmdet.ResNet',
        depth=18,
        stem_channels=32,
        base_channels=26,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch'),
    neck=dict(in_channels=[26, 52, 104, 208]))
