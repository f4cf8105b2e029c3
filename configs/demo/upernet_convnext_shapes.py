"""A small ConvNeXt V2 in UperNet on the embedded data set, for a CPU."""
_base_ = [
    '../_base_/backbones/convnextv2-32.py',
    '../_base_/models/upernet-64.py',
    '../_base_/datasets/shapes_semantic.py',
    '../_base_/schedules/one-cycle.py',
    '../_base_/runtime/segmentation.py',
]
max_iters = 700

model = dict(
    data_preprocessor=dict(size=(160, 160)),
    backbone=_base_.small_backbone,
    decode_head=dict(in_channels=[32, 64, 128, 256], num_classes=6),
    auxiliary_head=dict(in_channels=128, num_classes=6))
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=5e-3, total_steps=max_iters, pct_start=0.2, by_epoch=False)]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=max_iters))
log_processor = dict(window_size=20)
