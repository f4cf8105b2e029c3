"""ConvNeXt V2-Atto in RTMDet-tiny on Penn-Fudan, boxes alone, from nothing, on a CPU."""
_base_ = [
    '../_base_/models/rtmdet-tiny.py',
    '../_base_/datasets/pennfudan_detection.py',
    '../_base_/schedules/one-cycle.py',
    '../_base_/runtime/detection.py',
]
max_iters = 1000

model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='atto',
        use_grn=True,
        out_indices=[1, 2, 3],
        layer_scale_init_value=0.),
    neck=dict(in_channels=[80, 160, 320]),
    bbox_head=dict(num_classes=1))
train_cfg = dict(max_iters=max_iters, val_interval=250)
# its levels share convolutions
optim_wrapper = dict(paramwise_cfg=dict(bypass_duplicate=True))
param_scheduler = [
    dict(type='OneCycleLR', eta_max=2e-3, total_steps=max_iters, pct_start=0.1, by_epoch=False)]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=250))
log_processor = dict(window_size=20, by_epoch=False)
