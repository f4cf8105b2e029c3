_base_ = [
    '../_base_/models/cascade-mask-rcnn_fpn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/coco_3x.py',
    '../_base_/optimizers/convnext_layer-wise.py',
    '../_base_/runtime/detection.py',
]
published = 'coco/cascade_convnext-l_in22k'

model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='large',
        drop_path_rate=0.7,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth')),
    neck=dict(in_channels=[192, 384, 768, 1536]))
optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.7, num_layers=12))
