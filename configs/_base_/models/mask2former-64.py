"""Mask2Former for small images and CPUs: 64 channels, three layers each way, 40 queries.

A config adds the backbone, ``decode_head.in_channels`` and ``num_classes``, and the size that the
images are padded to.
"""
_base_ = 'mask2former_512x512.py'

attention = dict(embed_dims=64)
model = dict(
    decode_head=dict(
        feat_channels=64,
        out_channels=64,
        num_queries=40,
        pixel_decoder=dict(
            norm_cfg=dict(num_groups=8),
            encoder=dict(
                num_layers=3,
                layer_cfg=dict(
                    self_attn_cfg=attention,
                    ffn_cfg=dict(embed_dims=64, feedforward_channels=256))),
            positional_encoding=dict(num_feats=32)),
        positional_encoding=dict(num_feats=32),
        transformer_decoder=dict(
            num_layers=3,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(embed_dims=64, feedforward_channels=256))),
        train_cfg=dict(num_points=2048)))
del attention
