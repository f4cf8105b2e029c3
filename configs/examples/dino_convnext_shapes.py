"""The demo's ConvNeXt V2 in a small DINO on the embedded data, from nothing, on a CPU."""
_base_ = [
    '../_base_/backbones/convnextv2-32.py',
    '../_base_/models/dino-4scale-128.py',
    '../_base_/datasets/shapes_detection.py',
    '../_base_/schedules/one-cycle.py',
    '../_base_/runtime/detection.py',
]
max_iters = 1000

feed_forward = dict(ffn_cfg=dict(feedforward_channels=1024))
model = dict(
    backbone=dict(_base_.small_backbone, out_indices=[1, 2, 3]),
    neck=dict(in_channels=[64, 128, 256]),
    encoder=dict(layer_cfg=feed_forward),
    decoder=dict(layer_cfg=feed_forward),
    bbox_head=dict(num_classes=5))
del feed_forward
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=4)
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(clip_grad=dict(max_norm=1.))
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=max_iters, pct_start=0.1, by_epoch=False)]
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(window_size=20, by_epoch=False)
