_base_ = 'cascade-mask-rcnn_convnext-b_fpn_giou-4conv1fc_amp-ms-crop-3x_coco.py'
published = 'coco/cascade_convnext-b_in22k'

model = dict(
    backbone=dict(
        drop_path_rate=0.6,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth')))
optim_wrapper = dict(optimizer=dict(lr=1e-4))
