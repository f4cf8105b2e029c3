"""The demo's ConvNeXt V2 in a small Mask2Former on the embedded data, from nothing, on a CPU."""
_base_ = [
    '../_base_/backbones/convnextv2-32.py',
    '../_base_/models/mask2former-64.py',
    '../_base_/datasets/shapes_semantic.py',
    '../_base_/schedules/one-cycle.py',
    '../_base_/runtime/segmentation.py',
]
max_iters = 1000

feed_forward = dict(ffn_cfg=dict(feedforward_channels=576))
model = dict(
    data_preprocessor=dict(size=(160, 160)),
    backbone=_base_.small_backbone,
    decode_head=dict(
        in_channels=[32, 64, 128, 256],
        num_classes=6,
        pixel_decoder=dict(encoder=dict(layer_cfg=feed_forward)),
        transformer_decoder=dict(layer_cfg=feed_forward),
        loss_cls=dict(class_weight=[1.0] * 6 + [0.1])))
del feed_forward
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(clip_grad=dict(max_norm=1.))
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=max_iters, pct_start=0.1, by_epoch=False)]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=max_iters))
log_processor = dict(window_size=20)
