_base_ = [
    '../_base_/models/mask-rcnn_fpn.py',
    '../_base_/datasets/coco_instance_lsj-8xb4.py',
    '../_base_/schedules/coco_3x-8xb4.py',
    '../_base_/optimizers/convnext_layer-wise.py',
    '../_base_/runtime/detection.py',
]
published = 'v2_dense/mask-rcnn_convnextv2-b_fcmae'

model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='base',
        use_grn=True,
        drop_path_rate=0.4,
        layer_scale_init_value=0.,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/'
                       'convnextv2/pt_only/convnextv2_base_1k_224_fcmae.pt')),
    neck=dict(in_channels=[128, 256, 512, 1024]),
    test_cfg=dict(rcnn=dict(nms=dict(type='soft_nms'))))
optim_wrapper = dict(
    type='AmpOptimWrapper', optimizer=dict(lr=1e-4), paramwise_cfg=dict(decay_rate=0.95))
