"""A recipe of this project: that of ADE20K on Cityscapes."""
_base_ = [
    '../_base_/models/upernet_512x1024.py',
    '../_base_/datasets/cityscapes_512x1024.py',
    '../_base_/schedules/cityscapes_80k.py',
    '../_base_/optimizers/convnext_stage-wise.py',
    '../_base_/runtime/segmentation.py',
]
published = None
recipe = 'convnext_dense'

model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='tiny',
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224_ema.pth')),
    decode_head=dict(in_channels=[96, 192, 384, 768], num_classes=19),
    auxiliary_head=dict(in_channels=384, num_classes=19))
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(lr=1e-4))
