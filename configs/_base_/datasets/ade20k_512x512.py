"""ADE20K, 150 classes: 512x512 crops; short side 512 for testing, single-scale or multi-scale."""
_base_ = 'ade20k_format.py'

data_root = 'data/ade/ADEChallengeData2016/'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='convnext_dense.LoadAnnotations'),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    # after the resize: the ground truth keeps the image's own size
    dict(type='convnext_dense.LoadAnnotations'),
    dict(type='PackSegInputs'),
]
# the published ratios are of the test scale, not of the image's own size
tta_model = dict(type='convnext_dense.SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(int(2048 * ratio), int(512 * ratio)), keep_ratio=True)
                for ratio in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0., 1.)],
            [dict(type='convnext_dense.LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ]),
]

workers = dict(num_workers=4, persistent_workers=True)
dataset = dict(type='ADE20KDataset', data_root=data_root)
train_dataloader = dict(
    workers, batch_size=2, dataset=dict(dataset, pipeline=train_pipeline))
val_dataloader = dict(workers, dataset=dict(dataset, pipeline=test_pipeline))
test_dataloader = val_dataloader
del workers, dataset

val_evaluator = dict(reduce_zero_label=True)
test_evaluator = val_evaluator
