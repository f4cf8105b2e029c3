_base_ = [
    '../_base_/models/rtmdet-l.py',
    '../_base_/datasets/coco_640x640_mosaic.py',
    '../_base_/schedules/coco_100e_rtmdet.py',
    '../_base_/optimizers/convnext_layer-wise.py',
    '../_base_/runtime/detection.py',
]
published = 'rtmdet/rtmdet-l_convnext-b_in22k-in1k-384'

model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='base',
        out_indices=[1, 2, 3],
        drop_path_rate=0.7,
        layer_scale_init_value=1.0,
        with_cp=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_1k_384.pth')),
    neck=dict(in_channels=[256, 512, 1024]))
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(decay_rate=0.8))
default_hooks = dict(checkpoint=dict(interval=10))
