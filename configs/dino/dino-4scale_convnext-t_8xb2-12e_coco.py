"""The published row started at 384x384; of ConvNeXt-T and -S no such file was released."""
_base_ = [
    '../_base_/models/dino-4scale.py',
    '../_base_/datasets/coco_detr.py',
    '../_base_/schedules/coco_12e_detr.py',
    '../_base_/optimizers/detr.py',
    '../_base_/runtime/detection.py',
]
published = 'dino/dino-4scale_convnext-t_in1k-384'

model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='tiny',
        out_indices=[1, 2, 3],
        drop_path_rate=0.,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224_ema.pth')),
    neck=dict(in_channels=[192, 384, 768]))
