"""ConvNeXt-T in Mask R-CNN, from ImageNet's weights: what `convnext-dense new` takes on a GPU."""
_base_ = [
    '../_base_/models/mask-rcnn_fpn.py',
    '../_base_/datasets/own_instances.py',
    '../_base_/schedules/fine-tuning.py',
    '../_base_/runtime/detection.py',
]

model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='tiny',
        drop_path_rate=0.2,
        layer_scale_init_value=1.0),
    neck=dict(in_channels=[96, 192, 384, 768]))
default_hooks = dict(
    logger=dict(interval=10, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, save_best='coco/bbox_mAP'))
log_processor = dict(window_size=10, by_epoch=False)
