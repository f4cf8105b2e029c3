"""A small ConvNeXt V2 in UperNet on small images of shapes, one of the models of `make compare`."""
_base_ = [
    '../_base_/models/upernet-64.py',
    '../_base_/datasets/shapes_semantic.py',
    '../_base_/schedules/one-cycle.py',
    '../_base_/runtime/segmentation.py',
]
max_iters = 900

model = dict(
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(
        type='convnext_dense.ConvNeXt',
        arch=dict(depths=(3, 4, 4, 2), channels=(32, 64, 128, 256)),
        use_grn=True,
        layer_scale_init_value=0.),
    decode_head=dict(in_channels=[32, 64, 128, 256], channels=32, num_classes=6),
    auxiliary_head=dict(in_channels=128, channels=32, num_classes=6))
train_dataloader = dict(batch_size=8)
val_dataloader = dict(batch_size=20)
test_dataloader = val_dataloader
# decays what the recipe of one cycle decays, in few groups, which take a fifth off a step
optim_wrapper = dict(
    constructor='convnext_dense.LearningRateDecayOptimizerConstructor',
    paramwise_cfg=dict(_delete_=True, decay_rate=1.))
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 3)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=3e-3, total_steps=max_iters, pct_start=0.2, by_epoch=False)]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=max_iters // 3))
log_processor = dict(window_size=20)
val_evaluator = dict(report=True)
test_evaluator = val_evaluator
