_base_ = [
    '../_base_/models/upernet_640x640.py',
    '../_base_/datasets/ade20k_640x640.py',
    '../_base_/schedules/ade20k_160k.py',
    '../_base_/optimizers/convnext_stage-wise.py',
    '../_base_/runtime/segmentation.py',
]
published = 'ade20k/upernet_convnext-b_in22k'

model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='base',
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth')),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512))
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(lr=1e-4))
