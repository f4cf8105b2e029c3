"""A recipe of this project: none was published for ConvNeXt V2-Atto with this head."""
_base_ = [
    '../_base_/models/rtmdet-tiny.py',
    '../_base_/datasets/coco_640x640.py',
    '../_base_/schedules/coco_100e_rtmdet.py',
    '../_base_/optimizers/convnext_layer-wise.py',
    '../_base_/runtime/detection.py',
]
published = None
recipe = 'convnext_dense'

model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='atto',
        use_grn=True,
        out_indices=[1, 2, 3],
        drop_path_rate=0.1,
        layer_scale_init_value=0.,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/'
                       'convnextv2/im1k/convnextv2_atto_1k_224_ema.pt')),
    neck=dict(in_channels=[80, 160, 320]))
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(decay_rate=0.9))
default_hooks = dict(checkpoint=dict(interval=10))
