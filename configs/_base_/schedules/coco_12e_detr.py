"""12 epochs without warm-up, learning rate / 10 after epoch 11, for batches of 16."""
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[11], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
