"""The 3x schedule for batches of 32: a warm-up of 1000 iterations."""
_base_ = 'coco_3x.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    *_base_.param_scheduler[1:],
]
auto_scale_lr = dict(base_batch_size=32)
