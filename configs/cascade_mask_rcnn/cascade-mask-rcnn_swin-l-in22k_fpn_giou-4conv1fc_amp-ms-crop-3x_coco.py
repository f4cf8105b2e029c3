_base_ = 'cascade-mask-rcnn_swin-b-in22k_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py'
published = 'coco/cascade_swin-l_in22k'

model = dict(
    backbone=dict(
        embed_dims=192,
        num_heads=[6, 12, 24, 48],
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
                       'swin_large_patch4_window7_224_22k.pth')),
    neck=dict(in_channels=[192, 384, 768, 1536]))
