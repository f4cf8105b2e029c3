"""100 epochs: a warm-up of 1000 iterations, then cosine from epoch 50 to a twentieth of the lr.

For batches of 128.
"""
train_cfg = dict(
    type='EpochBasedTrainLoop',
    max_epochs=100,
    val_interval=10,
    dynamic_intervals=[(90, 1)])
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-5, by_epoch=False, begin=0, end=1000),
    dict(
        type='CosineAnnealingLR',
        eta_min=5e-5,
        by_epoch=True,
        convert_to_iter_based=True,
        begin=50,
        end=100,
        T_max=50),
]
auto_scale_lr = dict(enable=False, base_batch_size=128)
