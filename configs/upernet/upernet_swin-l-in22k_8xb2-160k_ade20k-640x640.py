_base_ = [
    '../_base_/models/upernet_640x640.py',
    '../_base_/datasets/ade20k_640x640.py',
    '../_base_/schedules/ade20k_160k.py',
    '../_base_/optimizers/swin_ade20k.py',
    '../_base_/runtime/segmentation.py',
]
published = 'ade20k/upernet_swin-l_in22k'

model = dict(
    backbone=dict(
        type='convnext_dense.SwinTransformer',
        embed_dims=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=7,
        drop_path_rate=0.3,
        convert_weights=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
                       'swin_large_patch4_window7_224_22k.pth')),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768))
