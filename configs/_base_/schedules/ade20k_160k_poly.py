"""160k iterations of polynomial decay (power 0.9) without warm-up, for batches of 16."""
_base_ = 'ade20k_160k.py'

train_cfg = dict(val_interval=5000)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=160000),
]
