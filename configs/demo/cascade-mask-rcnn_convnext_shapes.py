"""A small ConvNeXt V2 in Cascade Mask R-CNN on the embedded data set, for a CPU."""
_base_ = [
    '../_base_/backbones/convnextv2-32.py',
    '../_base_/models/cascade-mask-rcnn_fpn-64.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/one-cycle.py',
    '../_base_/runtime/detection.py',
]
max_iters = 750

model = dict(
    backbone=_base_.small_backbone,
    neck=dict(in_channels=[32, 64, 128, 256]),
    roi_head=dict(mask_head=dict(conv_out_channels=32)))
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=4)
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=5e-3, total_steps=max_iters, pct_start=0.2, by_epoch=False)]
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(window_size=20, by_epoch=False)
