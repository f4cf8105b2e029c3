"""A Swin Transformer of the same size and recipe."""
_base_ = 'upernet_convnext_short_shapes.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        embed_dims=28,
        depths=(2, 2, 4, 2),
        num_heads=(1, 2, 4, 8),
        window_size=4,
        drop_path_rate=0.),
    decode_head=dict(in_channels=[28, 56, 112, 224]),
    auxiliary_head=dict(in_channels=112))
