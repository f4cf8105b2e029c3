"""COCO instances with the large-scale jitter of ConvNeXt V2's Mask R-CNN, in batches of 32."""
_base_ = 'coco_instance_lsj.py'

changes = dict(
    LoadImageFromFile=dict(to_float32=False),
    RandomCrop=dict(crop_type='absolute_range'),
    FilterAnnotations=dict(min_gt_bbox_wh=(1e-2, 1e-2), by_mask=False))
train_pipeline = [dict(step, **changes.get(step.type, {})) for step in _base_.train_pipeline]
test_pipeline = [
    dict(step, to_float32=False) if step.type == 'LoadImageFromFile' else step
    for step in _base_.test_pipeline
]
del changes

train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
