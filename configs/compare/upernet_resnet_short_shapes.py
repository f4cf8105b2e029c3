"""A ResNet of the same size and recipe."""
_base_ = 'upernet_convnext_short_shapes.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmseg.ResNet',
        depth=18,
        stem_channels=32,
        base_channels=27,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch'),
    decode_head=dict(in_channels=[27, 54, 108, 216]),
    auxiliary_head=dict(in_channels=108))
