"""UperNet for small images and CPUs: 64 channels, tested on whole images.

A config adds the backbone, the heads' ``in_channels`` and ``num_classes``, and the size that the
images are padded to.
"""
_base_ = 'upernet_512x512.py'

model = dict(
    decode_head=dict(channels=64),
    auxiliary_head=dict(channels=64),
    test_cfg=dict(_delete_=True, mode='whole', keep_logits=False))
