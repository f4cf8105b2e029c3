"""A recipe of this project: none was published for ConvNeXt-T with this head."""
_base_ = [
    '../_base_/models/mask2former_coco-panoptic.py',
    '../_base_/datasets/coco_panoptic_lsj.py',
    '../_base_/schedules/coco_50e_mask2former.py',
    '../_base_/optimizers/mask2former.py',
    '../_base_/runtime/panoptic_by-iteration.py',
]
published = None
recipe = 'convnext_dense'

model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='tiny',
        drop_path_rate=0.3,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224_ema.pth')),
    panoptic_head=dict(in_channels=[96, 192, 384, 768]))
