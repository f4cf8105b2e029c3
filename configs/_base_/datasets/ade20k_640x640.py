"""ADE20K as in ade20k_512x512.py, with 640x640 crops and short side 640 for testing."""
_base_ = 'ade20k_512x512.py'

scale = (2560, 640)
changes = dict(
    RandomResize=dict(scale=scale),
    RandomCrop=dict(crop_size=(640, 640)),
    Resize=dict(scale=scale))
train_pipeline = [dict(step, **changes.get(step.type, {})) for step in _base_.train_pipeline]
test_pipeline = [dict(step, **changes.get(step.type, {})) for step in _base_.test_pipeline]
tta_resizes, *tta_rest = _base_.tta_pipeline[1].transforms
tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(step, scale=tuple(side * 640 // 512 for side in step.scale))
                for step in tta_resizes
            ],
            *tta_rest,
        ]),
]
del scale, changes, tta_resizes, tta_rest

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
