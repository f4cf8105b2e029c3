"""40k iterations, cosine decay to 0 with 1500 iterations of warm-up, for batches of 16."""
train_cfg = dict(type='IterBasedTrainLoop', max_iters=40000, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=0, end=40000, T_max=40000),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
