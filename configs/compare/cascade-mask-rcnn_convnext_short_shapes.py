"""ConvNeXt's part of the comparison on the embedded data set: the demo, with its results kept."""
_base_ = '../demo/cascade-mask-rcnn_convnext_shapes.py'

max_iters = 200

train_cfg = dict(max_iters=max_iters, val_interval=50)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=2e-3, total_steps=max_iters, pct_start=0.2, by_epoch=False)]
default_hooks = dict(checkpoint=dict(interval=max_iters))
val_evaluator = dict(type='convnext_dense.CocoMetric', report=True)
test_evaluator = val_evaluator
