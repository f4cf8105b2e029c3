_base_ = 'dino-4scale_swin-t_8xb2-12e_coco.py'
published = 'dino/dino-4scale_swin-l_in22k-in1k'

model = dict(
    backbone=dict(
        embed_dims=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        drop_path_rate=0.2,
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
                       'swin_large_patch4_window7_224_22kto1k.pth')),
    neck=dict(in_channels=[384, 768, 1536]))
