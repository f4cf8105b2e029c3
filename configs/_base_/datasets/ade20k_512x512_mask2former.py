"""ADE20K as Mask2Former is trained on it: short sides of half to twice the crop."""
_base_ = 'ade20k_512x512.py'

train_pipeline = [
    dict(
        type='RandomChoiceResize',
        scales=[512 * tenths // 10 for tenths in range(5, 21)],
        resize_type='ResizeShortestEdge',
        max_size=2048) if step.type == 'RandomResize' else step
    for step in _base_.train_pipeline
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
