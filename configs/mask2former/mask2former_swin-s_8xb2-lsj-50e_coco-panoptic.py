_base_ = 'mask2former_swin-t_8xb2-lsj-50e_coco-panoptic.py'
published = 'mask2former_panoptic/mask2former_swin-s_in1k'

model = dict(
    backbone=dict(
        depths=[2, 2, 18, 2],
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
                       'swin_small_patch4_window7_224.pth')))
