"""The embedded data set as scenes: background and shapes. `convnext-dense demo-data` draws it."""
_base_ = 'ade20k_format.py'

data_root = 'data/shapes/'

metainfo = dict(classes=('background', 'disc', 'ring', 'square', 'triangle', 'star'))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='convnext_dense.LoadAnnotations', reduce_zero_label=True),
    dict(
        type='RandomFlip',
        prob=[0.25, 0.25, 0.25],
        direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='convnext_dense.LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs'),
]

dataset = dict(data_root=data_root, metainfo=metainfo, reduce_zero_label=True)
auto_scale_lr = dict(enable=False, base_batch_size=8)
train_dataloader = dict(batch_size=8, dataset=dict(dataset, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(dataset, pipeline=test_pipeline))
test_dataloader = val_dataloader
del dataset

val_evaluator = dict(reduce_zero_label=True)
test_evaluator = val_evaluator
