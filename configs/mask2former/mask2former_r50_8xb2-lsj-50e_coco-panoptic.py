_base_ = [
    '../_base_/models/mask2former_coco-panoptic.py',
    '../_base_/datasets/coco_panoptic_lsj.py',
    '../_base_/schedules/coco_50e_mask2former.py',
    '../_base_/optimizers/mask2former.py',
    '../_base_/runtime/panoptic_by-iteration.py',
]
published = 'mask2former_panoptic/mask2former_r50_in1k'

model = dict(
    backbone=dict(
        type='ResNet',
        depth=50,
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(
            type='convnext_dense.Pretrained', checkpoint='torchvision://resnet50')),
    panoptic_head=dict(in_channels=[256, 512, 1024, 2048]))
