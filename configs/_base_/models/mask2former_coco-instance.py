"""Mask2Former for COCO's things alone, for any backbone, trained on 1024x1024 crops.

A config adds the backbone and ``panoptic_head.in_channels``.
"""
_base_ = 'mask2former_coco-panoptic.py'

pad, = _base_.model.data_preprocessor.batch_augments
model = dict(
    data_preprocessor=dict(pad_seg=False, batch_augments=[dict(pad, pad_seg=False)]),
    panoptic_head=dict(
        num_stuff_classes=0, loss_cls=dict(class_weight=[1.0] * 80 + [0.1])),
    panoptic_fusion_head=dict(num_stuff_classes=0),
    test_cfg=dict(panoptic_on=False))
del pad
