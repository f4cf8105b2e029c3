"""COCO's boxes as the DETR family sees them: images without objects stay, long crops, too."""
_base_ = 'coco_detection.py'

whole, crops = _base_.train_pipeline[3].transforms
resize, *rest = crops
train_pipeline = [
    *_base_.train_pipeline[:3],
    dict(
        type='RandomChoice',
        transforms=[
            whole,
            [dict(resize, scales=[(400, 4200), (500, 4200), (600, 4200)]), *rest],
        ]),
    *_base_.train_pipeline[4:],
]
del whole, crops, resize, rest

train_dataloader = dict(
    dataset=dict(filter_cfg=dict(filter_empty_gt=False), pipeline=train_pipeline))
