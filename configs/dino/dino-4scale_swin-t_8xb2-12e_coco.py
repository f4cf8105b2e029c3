_base_ = [
    '../_base_/models/dino-4scale.py',
    '../_base_/datasets/coco_detr.py',
    '../_base_/schedules/coco_12e_detr.py',
    '../_base_/optimizers/detr.py',
    '../_base_/runtime/detection.py',
]
published = 'dino/dino-4scale_swin-t_in1k'

model = dict(
    backbone=dict(
        type='convnext_dense.SwinTransformer',
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        out_indices=[1, 2, 3],
        drop_path_rate=0.1,
        convert_weights=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
                       'swin_tiny_patch4_window7_224.pth')),
    neck=dict(in_channels=[192, 384, 768]))
