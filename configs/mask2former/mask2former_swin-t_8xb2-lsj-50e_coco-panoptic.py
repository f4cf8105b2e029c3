_base_ = [
    '../_base_/models/mask2former_coco-panoptic.py',
    '../_base_/datasets/coco_panoptic_lsj.py',
    '../_base_/schedules/coco_50e_mask2former.py',
    '../_base_/optimizers/mask2former.py',
    '../_base_/runtime/panoptic_by-iteration.py',
]
published = 'mask2former_panoptic/mask2former_swin-t_in1k'

model = dict(
    backbone=dict(
        type='convnext_dense.SwinTransformer',
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.3,
        convert_weights=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
                       'swin_tiny_patch4_window7_224.pth')),
    panoptic_head=dict(in_channels=[96, 192, 384, 768]))
