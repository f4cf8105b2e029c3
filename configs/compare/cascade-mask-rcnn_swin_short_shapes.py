"""A Swin Transformer of the same size and recipe."""
_base_ = 'cascade-mask-rcnn_convnext_short_shapes.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmdet.SwinTransformer',
        embed_dims=28,
        depths=(2, 2, 4, 2),
        num_heads=(1, 2, 4, 8),
        window_size=7,
        drop_path_rate=0.),
    neck=dict(in_channels=[28, 56, 112, 224]))
