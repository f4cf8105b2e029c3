"""ADE20K as in ade20k_512x512_mask2former.py, with 640x640 crops and short side 640 for tests."""
_base_ = 'ade20k_640x640.py'

train_pipeline = [
    dict(
        type='RandomChoiceResize',
        scales=[640 * tenths // 10 for tenths in range(5, 21)],
        resize_type='ResizeShortestEdge',
        max_size=2560) if step.type == 'RandomResize' else step
    for step in _base_.train_pipeline
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
