_base_ = [
    '../_base_/models/rtmdet-l.py',
    '../_base_/datasets/coco_640x640_mosaic.py',
    '../_base_/schedules/coco_100e_rtmdet.py',
    '../_base_/optimizers/rtmdet.py',
    '../_base_/runtime/detection.py',
]
published = 'rtmdet/rtmdet-l_swin-b_in22k-384'

model = dict(
    backbone=dict(
        type='convnext_dense.SwinTransformer',
        pretrain_img_size=384,
        embed_dims=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        window_size=12,
        out_indices=[1, 2, 3],
        drop_path_rate=0.3,
        convert_weights=True,
        with_cp=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
                       'swin_base_patch4_window12_384_22k.pth')),
    neck=dict(in_channels=[256, 512, 1024]))
default_hooks = dict(checkpoint=dict(interval=10))
