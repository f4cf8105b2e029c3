"""A fifth scale, and positions, noise and neck as mmdet trained this row."""
_base_ = 'dino-4scale_swin-l-in22k_8xb2-12e_coco.py'
published = 'dino/dino-5scale_swin-l_in22k'

model = dict(
    num_feature_levels=5,
    backbone=dict(
        pretrain_img_size=384,
        window_size=12,
        out_indices=[0, 1, 2, 3],
        with_cp=True,
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
                       'swin_large_patch4_window12_384_22k.pth')),
    neck=dict(in_channels=[192, 384, 768, 1536], num_outs=5, bias='auto'),
    encoder=dict(layer_cfg=dict(self_attn_cfg=dict(num_levels=5))),
    decoder=dict(layer_cfg=dict(cross_attn_cfg=dict(num_levels=5))),
    positional_encoding=dict(offset=0., temperature=20),
    dn_cfg=dict(label_noise_scale=0.5))
