"""CamVid: road scenes with 11 classes, images of 480x360 at two thirds of their size."""
_base_ = 'ade20k_format.py'

data_root = 'data/camvid/'

metainfo = dict(classes=(
    'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign symbol', 'fence', 'car',
    'pedestrian', 'bicyclist'))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='convnext_dense.LoadAnnotations'),
    dict(type='RandomResize', scale=(320, 240), ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(192, 256), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(320, 240), keep_ratio=True),
    # after the resize: the ground truth keeps the image's own size
    dict(type='convnext_dense.LoadAnnotations'),
    dict(type='PackSegInputs'),
]

auto_scale_lr = dict(enable=False, base_batch_size=8)
train_dataloader = dict(
    batch_size=8,
    dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=test_pipeline))
test_dataloader = val_dataloader
