"""Label maps in the layout that `convnext-dense new` writes; a config adds root and classes."""
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset',
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training')))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation')))
test_dataloader = val_dataloader

val_evaluator = dict(
    type='convnext_dense.IoUMetric', iou_metrics=['mIoU'], reduce_zero_label=False)
test_evaluator = dict(val_evaluator, report=True)
