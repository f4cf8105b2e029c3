"""COCO's boxes at 640x640: crops of images of 0.1 to 2 times that size."""
_base_ = 'coco_detection.py'

size, grey = (640, 640), dict(img=(114, 114, 114))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=size),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=size, pad_val=grey),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=size, keep_ratio=True),
    dict(type='Pad', size=size, pad_val=grey),
    dict(type='LoadAnnotations', with_bbox=True),
    _base_.test_pipeline[-1],
]
tta_resizes, *tta_rest = _base_.tta_pipeline[1].transforms
tta_model = dict(nms=dict(iou_threshold=0.6))
tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(side, side), keep_ratio=True)
                for side in (640, 320, 960)
            ],
            tta_rest[0],
            [dict(type='Pad', size=(960, 960), pad_val=grey)],
            *tta_rest[1:],
        ]),
]
del size, grey, tta_resizes, tta_rest

train_dataloader = dict(batch_size=32, batch_sampler=None, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=5, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(proposal_nums=(100, 1, 10))
test_evaluator = val_evaluator
