"""ConvNeXt V2-Atto in a small Mask R-CNN: what `convnext-dense new` takes on a CPU."""
_base_ = [
    '../_base_/models/mask-rcnn_fpn-64.py',
    '../_base_/datasets/own_instances.py',
    '../_base_/schedules/one-cycle.py',
    '../_base_/runtime/detection.py',
]

model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt', arch='atto', use_grn=True, layer_scale_init_value=0.),
    neck=dict(in_channels=[40, 80, 160, 320]))
default_hooks = dict(
    logger=dict(interval=10, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, save_best='coco/bbox_mAP'))
log_processor = dict(window_size=10, by_epoch=False)
