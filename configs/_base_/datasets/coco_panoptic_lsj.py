"""COCO's things and stuff with the large-scale jitter of coco_instance_lsj.py."""
_base_ = 'coco_instance_lsj.py'

load = dict(
    type='convnext_dense.LoadPanopticAnnotations', with_bbox=True, with_mask=True, with_seg=True)
train_pipeline = [
    load if step.type == 'LoadAnnotations' else step for step in _base_.train_pipeline
    if step.type != 'FilterAnnotations'
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    *[load if step.type == 'LoadAnnotations' else step for step in _base_.test_pipeline[1:]],
]
del load

train_dataloader = dict(
    dataset=dict(
        type='CocoPanopticDataset',
        ann_file='annotations/panoptic_train2017.json',
        data_prefix=dict(img='train2017/', seg='annotations/panoptic_train2017/'),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type='CocoPanopticDataset',
        ann_file='annotations/panoptic_val2017.json',
        data_prefix=dict(img='val2017/', seg='annotations/panoptic_val2017/'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader

instances = dict(_base_.val_evaluator)
panoptic = dict(
    type='convnext_dense.PanopticMetric',
    ann_file=_base_.data_root + 'annotations/panoptic_val2017.json',
    seg_prefix=_base_.data_root + 'annotations/panoptic_val2017/')
val_evaluator = [panoptic, instances]
test_evaluator = [panoptic, dict(_base_.test_evaluator)]
del panoptic, instances
