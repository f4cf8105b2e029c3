"""Detector, segmenter and toy model so small that a training step takes a moment."""
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import DATASETS, METRICS, MODELS, OPTIM_WRAPPERS
from torch import nn

SIZE = 64

sys.path.append(str(Path(__file__).parents[1]))
import unformatted  # noqa: E402,F401


@MODELS.register_module()
class ToyModel(BaseModel):
    """One convolution with a dropout, on images of noise."""

    def __init__(self, slope=0.):
        super().__init__(data_preprocessor=dict(type='BaseDataPreprocessor'))
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(.5)
        self.head = nn.Linear(4, 1)

    def forward(self, inputs, data_samples=None, mode='loss'):
        inputs = torch.stack(inputs) if isinstance(inputs, (list, tuple)) else inputs
        out = self.head(self.drop(self.norm(self.conv(inputs)).mean((2, 3))))
        return dict(loss=(out ** 2).mean()) if mode == 'loss' else list(out)


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(AmpOptimWrapper):
    """mmengine's AMP wrapper, which refuses to be made without a GPU, with a scaler on the CPU.

    Autocast on a CPU is bfloat16's in mmengine; the scaler is as real as on a GPU.
    """

    def __init__(self, loss_scale='dynamic', **kwargs):
        OptimWrapper.__init__(self, **kwargs)
        self._scale_update_param = loss_scale if isinstance(loss_scale, float) else None
        self.cast_dtype = None
        settings = dict(init_scale=loss_scale) if isinstance(loss_scale, float) else (
            {} if loss_scale == 'dynamic' else loss_scale)
        self.loss_scaler = torch.amp.GradScaler('cpu', **settings)


@DATASETS.register_module()
class ToyData:
    """Images of noise that differ each time they are read; ``reads`` collects what was read."""

    def __init__(self, length=12, log=None, test_mode=False):
        self.length, self.log, self.test_mode = length, log, test_mode
        self.metainfo = dict(classes=('toy', ))

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        import random

        import numpy as np
        image = torch.rand(3, 8, 8) + float(np.random.rand()) + random.random()
        if self.log:
            with open(self.log, 'a') as file:
                file.write(f'{index} {image.sum().item():.6f}\n')
        return dict(inputs=image, data_samples=index)


@METRICS.register_module()
class ToyMetric(BaseMetric):
    """The given scores, one after the other."""

    def __init__(self, scores=(.1, .3, .2, .4)):
        super().__init__()
        self.scores = list(scores)

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(score=self.scores.pop(0))


def with_validation(config, interval, **metric):
    """A toy config that also validates."""
    config.val_dataloader = dict(
        batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='ToyData', length=4, test_mode=True))
    config.val_evaluator = dict(type='ToyMetric', **metric)
    config.val_cfg = dict()
    config.train_cfg.val_interval = interval
    return config


def toy_config(work_dir, by_epoch=True, length=12, batch_size=2, workers=0, epochs=3, log=None,
               **settings):
    """A run of the toy model without evaluation."""
    iters = epochs * (length // batch_size)
    config = dict(
        model=dict(type='ToyModel'),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=batch_size, num_workers=workers,
            sampler=dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True),
            dataset=dict(type='ToyData', length=length, log=log and str(log))),
        train_cfg=dict(by_epoch=True, max_epochs=epochs) if by_epoch else dict(
            by_epoch=False, max_iters=iters, val_interval=10**6),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=.01)),
        param_scheduler=[dict(type='LinearLR', start_factor=.1, by_epoch=False, end=iters)],
        default_hooks=dict(
            checkpoint=dict(type='convnext_dense.CheckpointHook', by_epoch=False, interval=1,
                            max_keep_ckpts=3)),
        randomness=dict(seed=0), env_cfg=dict(dist_cfg=dict(backend='gloo')),
        default_scope='mmengine', log_level='WARNING')
    return Config(dict(config, **settings))


def tiny_backbone():
    return dict(type='convnext_dense.ConvNeXt',
                arch=dict(depths=(1, 1, 1, 1), channels=(8, 16, 24, 32)), drop_path_rate=.3)


def _shared(config, data, work_dir, workers):
    from convnext_dense.config import set_data_root, set_device
    config.work_dir = str(work_dir)
    set_data_root(config, str(data))
    set_device(config, 'cpu')
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        config[name].num_workers = workers
    config.train_dataloader.batch_size = 2
    config.default_hooks.checkpoint = dict(
        type='convnext_dense.CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=2)
    config.default_hooks.pop('visualization', None)
    config.env_cfg.dist_cfg.backend = 'gloo'
    config.log_level = 'WARNING'
    config.custom_hooks = [dict(type='EMAHook', momentum=.1)]
    config.optim_wrapper.clip_grad = dict(max_norm=1., norm_type=2)
    return config


def detector_config(data, work_dir, workers=2, epochs=2, **settings):
    """Cascade Mask R-CNN by epochs, with flips, crops, drop path and EMA."""
    config = Config.fromfile('configs/demo/cascade-mask-rcnn_convnext_shapes.py')
    config.model.backbone = tiny_backbone()
    config.model.neck.update(in_channels=[8, 16, 24, 32], out_channels=16)
    config.model.rpn_head.update(in_channels=16, feat_channels=16)
    head = config.model.roi_head
    head.bbox_roi_extractor.out_channels = head.mask_roi_extractor.out_channels = 16
    for box_head in head.bbox_head:
        box_head.update(in_channels=16, fc_out_channels=16)
    head.mask_head.update(num_convs=1, in_channels=16, conv_out_channels=16)
    config.model.train_cfg.rpn_proposal.max_per_img = 8
    for stage in config.model.train_cfg.rcnn:
        stage.sampler.num = 8
    config.train_dataloader.sampler.type = 'DefaultSampler'
    config.train_dataloader.batch_sampler = dict(type='AspectRatioBatchSampler')
    pipeline = config.train_dataloader.dataset.pipeline
    pipeline.insert(3, dict(type='RandomCrop', crop_size=(48, 48), allow_negative_crop=True))
    config.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=1)
    config.param_scheduler = [
        dict(type='LinearLR', start_factor=.1, by_epoch=False, begin=0, end=5),
        dict(type='MultiStepLR', by_epoch=True, milestones=[1])]
    config = _shared(config, data, work_dir, workers)
    config.merge_from_dict(settings)
    return config


def segmenter_config(data, work_dir, workers=2, iters=12, **settings):
    """UperNet by iterations, with flips, crops, drop path and EMA."""
    config = Config.fromfile('configs/demo/upernet_convnext_shapes.py')
    config.model.backbone = tiny_backbone()
    config.model.data_preprocessor.size = (48, 48)
    config.model.decode_head.update(in_channels=[8, 16, 24, 32], channels=8)
    config.model.auxiliary_head.update(in_channels=24, channels=8)
    config.model.data_preprocessor.test_cfg = dict(size_divisor=32)
    pipeline = config.train_dataloader.dataset.pipeline
    pipeline.insert(3, dict(type='RandomCrop', crop_size=(48, 48), cat_max_ratio=.75))
    config.train_cfg.update(max_iters=iters, val_interval=iters // 2)
    config.param_scheduler = [
        dict(type='PolyLR', eta_min=0., power=1., begin=0, end=iters, by_epoch=False)]
    config = _shared(config, data, work_dir, workers)
    config.merge_from_dict(settings)
    return config
