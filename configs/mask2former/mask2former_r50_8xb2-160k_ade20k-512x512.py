_base_ = [
    '../_base_/models/mask2former_512x512.py',
    '../_base_/datasets/ade20k_512x512_mask2former.py',
    '../_base_/schedules/ade20k_160k_poly.py',
    '../_base_/optimizers/mask2former.py',
    '../_base_/runtime/segmentation.py',
]
published = 'mask2former_ade20k/mask2former_r50_in1k'

model = dict(
    backbone=dict(
        type='ResNet',
        depth=50,
        norm_cfg=dict(type='SyncBN', requires_grad=False),
        style='pytorch',
        init_cfg=dict(
            type='convnext_dense.Pretrained', checkpoint='torchvision://resnet50')),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]))
