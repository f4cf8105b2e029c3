"""A recipe of this project: none was published for OpenCLIP's ConvNeXt-L with this head."""
_base_ = 'upernet_convnext-l-in22k_8xb2-160k_ade20k-640x640.py'
published = None
recipe = 'convnext_dense'

model = dict(
    data_preprocessor=dict(mean=[122.771, 116.746, 104.094], std=[68.501, 66.632, 70.323]),
    backbone=dict(init_cfg=dict(checkpoint='convnext-large_clip-laion2b')))
