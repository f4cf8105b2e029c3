_base_ = 'cascade-mask-rcnn_swin-b_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py'
published = 'coco/cascade_swin-b_in22k'

model = dict(
    backbone=dict(
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
                       'swin_base_patch4_window7_224_22k.pth')))
