"""A recipe of this project: the mask row of Swin-T without masks."""
_base_ = [
    '../_base_/models/faster-rcnn_fpn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/coco_3x.py',
    '../_base_/optimizers/swin_coco.py',
    '../_base_/runtime/detection.py',
]
published = None
recipe = 'convnext_dense'

model = dict(
    backbone=dict(
        type='convnext_dense.SwinTransformer',
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.2,
        convert_weights=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
                       'swin_tiny_patch4_window7_224.pth')),
    neck=dict(in_channels=[96, 192, 384, 768]))
