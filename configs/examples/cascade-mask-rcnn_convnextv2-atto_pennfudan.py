"""ConvNeXt V2-Atto in Cascade Mask R-CNN on Penn-Fudan, from nothing, on a CPU."""
_base_ = [
    '../_base_/models/cascade-mask-rcnn_fpn-64.py',
    '../_base_/datasets/pennfudan_instance.py',
    '../_base_/schedules/one-cycle.py',
    '../_base_/runtime/detection.py',
]
max_iters = 600

model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='atto',
        use_grn=True,
        layer_scale_init_value=0.),
    neck=dict(in_channels=[40, 80, 160, 320]),
    rpn_head=dict(anchor_generator=dict(ratios=[1., 2., 3.])),
    roi_head=dict(
        bbox_head=[dict(head, num_classes=1) for head in _base_.model.roi_head.bbox_head],
        mask_head=dict(num_classes=1)))
train_cfg = dict(max_iters=max_iters, val_interval=200)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=2e-3, total_steps=max_iters, pct_start=0.1, by_epoch=False)]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=200))
log_processor = dict(window_size=20, by_epoch=False)
