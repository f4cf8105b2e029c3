"""4 epochs, learning rate / 10 after the third, for batches of 16."""
_base_ = 'coco_3x.py'

train_cfg = dict(max_epochs=4)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=4, milestones=[3], gamma=0.1),
]
