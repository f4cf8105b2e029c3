"""The probe of DINOv3's release: its backbone frozen, with the norm that it was trained with."""
_base_ = [
    '../_base_/models/linear_512x512.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/ade20k_40k_cosine.py',
    '../_base_/optimizers/linear.py',
    '../_base_/runtime/segmentation.py',
]
published = 'ade20k_linear/linear_convnext-t_dinov3'

model = dict(
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch='tiny',
        out_indices=[3],
        frozen_stages=4,
        init_cfg=dict(type='Pretrained', checkpoint='convnext-tiny_dinov3')),
    decode_head=dict(in_channels=768))
train_dataloader = dict(batch_size=16)
