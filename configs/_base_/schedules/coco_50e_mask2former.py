"""50 epochs as 368750 iterations, lr / 10 after 327778 and 355092, for batches of 16."""
train_cfg = dict(
    type='IterBasedTrainLoop',
    max_iters=368750,
    val_interval=5000,
    # once at the end, not a few iterations before it
    dynamic_intervals=[(365001, 368750)])
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=368750,
        milestones=[327778, 355092],
        gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
