"""COCO at 640x640 as RTMDet-l is trained on it: mosaics and mixtures, plain images at the end.

Partners come from a cache of the images before, so that a resumed run sees other ones.
"""
_base_ = 'coco_640x640.py'

plain_pipeline = _base_.train_pipeline
train_pipeline = [
    *plain_pipeline[:2],
    dict(type='CachedMosaic', img_scale=(640, 640), pad_val=114.0),
    dict(plain_pipeline[2], scale=(1280, 1280)),
    *plain_pipeline[3:-1],
    dict(
        type='CachedMixUp',
        img_scale=(640, 640),
        ratio_range=(1.0, 1.0),
        max_cached_images=20,
        pad_val=(114, 114, 114)),
    plain_pipeline[-1],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.0002,
        update_buffers=True,
        priority=49),
    dict(type='PipelineSwitchHook', switch_epoch=90, switch_pipeline=plain_pipeline),
]
del plain_pipeline
