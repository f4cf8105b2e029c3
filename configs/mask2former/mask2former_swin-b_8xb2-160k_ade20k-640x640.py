_base_ = [
    '../_base_/models/mask2former_640x640.py',
    '../_base_/datasets/ade20k_640x640_mask2former.py',
    '../_base_/schedules/ade20k_160k_poly.py',
    '../_base_/optimizers/mask2former.py',
    '../_base_/runtime/segmentation.py',
]
published = 'mask2former_ade20k/mask2former_swin-b_in1k-384'

model = dict(
    backbone=dict(
        type='convnext_dense.SwinTransformer',
        pretrain_img_size=384,
        embed_dims=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        window_size=12,
        drop_path_rate=0.3,
        convert_weights=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
                       'swin_base_patch4_window12_384.pth')),
    decode_head=dict(in_channels=[128, 256, 512, 1024]))
