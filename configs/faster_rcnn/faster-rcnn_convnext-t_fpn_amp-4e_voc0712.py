"""A recipe of this project: that of COCO on Pascal VOC."""
_base_ = [
    '../_base_/models/faster-rcnn_fpn.py',
    '../_base_/datasets/voc0712_detection.py',
    '../_base_/schedules/voc_4e.py',
    '../_base_/optimizers/convnext_layer-wise.py',
    '../_base_/runtime/detection.py',
]
published = None
recipe = 'convnext_dense'

model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='tiny',
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224_ema.pth')),
    neck=dict(in_channels=[96, 192, 384, 768]),
    roi_head=dict(bbox_head=dict(num_classes=20)))
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.95))
default_hooks = dict(checkpoint=dict(save_best='pascal_voc/mAP'))
