"""80k iterations: the schedule of ade20k_160k.py in half of the time."""
_base_ = 'ade20k_160k.py'

train_cfg = dict(max_iters=80000, val_interval=8000)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=80000),
]
