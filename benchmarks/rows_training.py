"""Rows: training steps of a whole detector and a whole segmenter, optimizer included.

The learning rate is 0, so that every step of every side works on the same weights, and the random
numbers of a step (proposals, drop path) start from the same seed.
"""
import copy
import logging
import os
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.packages import import_transformers
from benchmarks.rows import Side, row

PENNFUDAN = 'examples/cascade-mask-rcnn_convnextv2-atto_pennfudan.py'
UPERNET = 'upernet/upernet_convnext-t_8xb2-amp-160k_ade20k-512x512.py'


def config(name):
    """A config for a CPU without drop path and dropout, which transformers' heads lack."""
    from benchmarks.rows_inference import config as recipe
    cfg = recipe(name)
    cfg.model.backbone.drop_path_rate = 0.
    for head in ('decode_head', 'auxiliary_head'):
        if head in cfg.model:
            cfg.model[head].dropout_ratio = 0.
    return cfg


def build(cfg):
    from mmengine.registry import MODELS, init_default_scope
    init_default_scope(cfg.default_scope)
    return MODELS.build(cfg.model).train()


@cache
def state(name):
    """The weights that a training from nothing begins with."""
    torch.manual_seed(0)
    model = build(config(name))
    logging.disable(logging.INFO)  # a line for each parameter
    model.init_weights()
    logging.disable(logging.NOTSET)
    return model.state_dict()


@cache
def batch(name):
    """Four images of Penn-Fudan, or two random ones of 512x512, as the data loader gives it."""
    cfg = config(name)
    if name == UPERNET:
        from convnext_dense.analysis.random_batch import random_batch
        return random_batch(cfg, (512, 512), 2)
    from mmengine.dataset import pseudo_collate
    from mmengine.registry import DATASETS

    from convnext_dense.config import set_data_root
    set_data_root(cfg, pennfudan())
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    np.random.seed(0)
    return pseudo_collate([dataset[index] for index in range(4)])


def pennfudan():
    root = os.environ.get('CONVNEXT_DENSE_PENNFUDAN')
    if not root or not Path(root).is_dir():
        raise SystemExit('CONVNEXT_DENSE_PENNFUDAN must name the folder with Penn-Fudan, see '
                         'docs/data.md')
    return root


def side(name, stock=False, wrapper='OptimWrapper', **settings):
    """Ours prepared with these settings, or with the parts of mmdet, mmseg and mmpretrain.

    ``wrapper`` is the type of the optimizer's wrapper: float32 unless it says otherwise.
    """
    from benchmarks.rows_inference import stock as stock_config
    from convnext_dense.acceleration import Acceleration, prepare
    from convnext_dense.checkpoints import load_weights
    cfg = stock_config(config(name)) if stock else config(name)
    model = build(cfg)
    load_weights(model, dict(state_dict=state(name)))
    if not stock:
        prepare(model, 'train', settings=Acceleration(**settings))
    cfg.optim_wrapper.type = wrapper
    optimizer, data = build_optimizer(model, cfg), batch(name)

    def step():
        torch.manual_seed(0)
        model.train_step(copy.deepcopy(data), optimizer)

    def outputs():
        results = losses_and_gradient(model, optimizer, data)
        if name == UPERNET:  # what transformers gives, too
            return {key: results[key] for key in ('loss', 'gradient')}
        return results
    return Side(step, outputs)


def losses_and_gradient(model, optimizer, data):
    """The losses of a step, their sum as ``loss``, and the norm of all gradients."""
    torch.manual_seed(0)
    inputs = model.data_preprocessor(copy.deepcopy(data), True)
    with optimizer.optim_context(model):
        loss, losses = model.parse_losses(model(**inputs, mode='loss'))
    loss.backward()
    return dict({key: value.detach() for key, value in losses.items()},
                gradient=gradient_norm(model))


def build_optimizer(model, cfg):
    """The config's, with a learning rate of 0 and without groups by the names of parameters."""
    from mmengine.optim import build_optim_wrapper
    wrapper_cfg = copy.deepcopy(cfg.optim_wrapper)
    wrapper_cfg.optimizer.lr = 0.
    for key in ('constructor', 'paramwise_cfg'):
        wrapper_cfg.pop(key, None)
    return build_optim_wrapper(model, wrapper_cfg)


def gradient_norm(model):
    """The norm of all gradients, which are deleted."""
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    model.zero_grad()
    return norm


# --- transformers -------------------------------------------------------------------------------

class TransformersUperNet(nn.Module):
    """UperNet with ConvNeXt-T of transformers, with the weights of mmseg's."""

    def __init__(self):
        super().__init__()
        transformers = import_transformers()
        from convnext_dense.checkpoints.formats import FORMATS, from_official
        backbone = transformers.ConvNextConfig(
            out_features=['stage1', 'stage2', 'stage3', 'stage4'], layer_scale_init_value=1.)
        self.model = transformers.UperNetForSemanticSegmentation(transformers.UperNetConfig(
            backbone_config=backbone, num_labels=150, auxiliary_in_channels=384,
            hidden_size=512, auxiliary_channels=256, use_auxiliary_head=True))
        weights = state(UPERNET)
        renamed = from_official({key.removeprefix('backbone.'): value
                                 for key, value in weights.items()
                                 if key.startswith('backbone.')}, FORMATS['transformers'])
        renamed = {f'backbone.{key}': value for key, value in renamed.items()}
        for key, value in weights.items():
            if not key.startswith('backbone.'):
                renamed[key.replace('.bn.', '.batch_norm.')
                        .replace('conv_seg', 'classifier')] = value
        self.model.load_state_dict(renamed)

    def forward(self, images, labels):
        return self.model(pixel_values=images, labels=labels).loss


def transformers_side():
    model = TransformersUperNet().train()
    cfg = config(UPERNET)
    cfg.optim_wrapper.type = 'OptimWrapper'
    preprocessor = build(cfg).data_preprocessor
    optimizer = build_optimizer(model, cfg)

    def loss():
        data = preprocessor(copy.deepcopy(batch(UPERNET)), True)
        labels = torch.cat([sample.gt_sem_seg.data for sample in data['data_samples']])
        return model(data['inputs'], labels)

    def outputs():
        value = loss()
        value.backward()
        return dict(loss=value.detach(), gradient=gradient_norm(model))
    return Side(lambda: optimizer.update_params(loss()), outputs)


# --- rows ---------------------------------------------------------------------------------------

@row('cascade-training', 'Cascade Mask R-CNN, training step of the Penn-Fudan example',
     peer='stock mmdet', bar=3., tolerance=1e-3)
def cascade_training():
    return {'ours': partial(side, PENNFUDAN),
            'ours, winograd=True': partial(side, PENNFUDAN, winograd=True),
            'stock mmdet': partial(side, PENNFUDAN, stock=True)}


@row('upernet-training', 'UperNet ConvNeXt-T, training step, 2 x 512x512', peer='stock mmseg',
     bar=1.15, tolerance=1e-3)
def upernet_training():
    return {'ours': partial(side, UPERNET),
            'ours, winograd=True': partial(side, UPERNET, winograd=True),
            'stock mmseg': partial(side, UPERNET, stock=True), 'transformers': transformers_side}
