"""Instances in the layout that `convnext-dense new` writes; a config adds data root and classes."""
_base_ = 'coco_format.py'

load = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
pack = dict(
    type='PackDetInputs',
    meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))

train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        ann_file='annotations/train.json',
        data_prefix=dict(img='train/'),
        filter_cfg=dict(filter_empty_gt=False, min_size=8)))
val_dataloader = dict(
    dataset=dict(ann_file='annotations/val.json', data_prefix=dict(img='val/')))
test_dataloader = val_dataloader
# each validation writes its report over that of the one before
val_evaluator = dict(report=True)
