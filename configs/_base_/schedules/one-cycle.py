"""A short training from nothing: learning rate up and down once (arXiv 1708.07120).

A config adds ``train_cfg.max_iters`` and ``val_interval``, and a
``dict(type='OneCycleLR', eta_max=..., total_steps=..., pct_start=..., by_epoch=False)``.
"""
train_cfg = dict(type='IterBasedTrainLoop')
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.),
    clip_grad=dict(max_norm=5.))
