"""DINO for small images and CPUs: 128 channels, three layers each way, 100 queries.

A config adds the backbone, with the outputs of its last three stages, ``neck.in_channels`` and the
number of classes. The backbone starts from nothing, so that the neck has batch norms.
"""
_base_ = 'dino-4scale.py'

attention = dict(embed_dims=128)
feed_forward = dict(embed_dims=128, feedforward_channels=512)
model = dict(
    num_queries=100,
    neck=dict(
        out_channels=128,
        bias='auto',
        norm_cfg=dict(_delete_=True, type='SyncBN', requires_grad=True)),
    encoder=dict(
        num_layers=3, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=feed_forward)),
    decoder=dict(
        num_layers=3,
        layer_cfg=dict(
            self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=feed_forward)),
    positional_encoding=dict(num_feats=64),
    bbox_head=dict(embed_dims=128),
    dn_cfg=dict(group_cfg=dict(num_dn_queries=50)),
    test_cfg=dict(max_per_img=50))
del attention, feed_forward
