"""A small ConvNeXt V2 in UperNet on the embedded data set, for a CPU."""
_base_ = [
    '../_base_/models/upernet-64.py',
    '../_base_/datasets/shapes_semantic.py',
    '../_base_/schedules/one-cycle.py',
    '../_base_/runtime/segmentation.py',
]
max_iters = 700

model = dict(
    data_preprocessor=dict(size=(160, 160)),
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch=dict(depths=(2, 2, 4, 2), channels=(32, 64, 128, 256)),
        use_grn=True,
        layer_scale_init_value=0.,
        # weights of this size learn from the first step; the published ones are for long recipes
        init_cfg=dict(
            type='Kaiming',
            layer=['Conv2d', 'Linear'],
            mode='fan_in',
            distribution='normal')),
    decode_head=dict(in_channels=[32, 64, 128, 256], num_classes=6),
    auxiliary_head=dict(in_channels=128, num_classes=6))
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=5e-3, total_steps=max_iters, pct_start=0.2, by_epoch=False)]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=max_iters))
log_processor = dict(window_size=20)
