"""ConvNeXt V2-Atto in a small Mask2Former on CamVid, from nothing, on a CPU."""
_base_ = [
    '../_base_/models/mask2former-64.py',
    '../_base_/datasets/camvid_semantic.py',
    '../_base_/schedules/one-cycle.py',
    '../_base_/runtime/segmentation.py',
]
max_iters = 600

model = dict(
    data_preprocessor=dict(size=(192, 256)),
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='atto',
        use_grn=True,
        layer_scale_init_value=0.),
    decode_head=dict(
        in_channels=[40, 80, 160, 320],
        num_classes=11,
        loss_cls=dict(class_weight=[1.0] * 11 + [0.1])))
train_cfg = dict(max_iters=max_iters, val_interval=200)
optim_wrapper = dict(clip_grad=dict(max_norm=1.))
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=max_iters, pct_start=0.1, by_epoch=False)]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=200))
log_processor = dict(window_size=20)
