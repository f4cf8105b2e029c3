"""Configs in mmengine's pure-Python style, whose types are classes, give the run of the names."""
import copy
import uuid
from pathlib import Path

import pytest
import torch
from mmcv import ops
from mmengine import registry
from mmengine.config import Config
from mmengine.model import PretrainedInit
from tiny import detector_config, segmenter_config

from convnext_dense.checks.preflight import check_config
from convnext_dense.cli import main
from convnext_dense.config import load_config, set_device
from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.datasets.splits import default_scope
from convnext_dense.models.layers import LayerNorm2d
from convnext_dense.prediction import Predictor
from convnext_dense.runtime import Runner

REGISTRIES = ('MODELS', 'HOOKS', 'OPTIMIZERS', 'OPTIM_WRAPPERS', 'PARAM_SCHEDULERS', 'LOOPS',
              'DATA_SAMPLERS', 'TRANSFORMS', 'METRICS', 'DATASETS', 'TASK_UTILS', 'VISUALIZERS',
              'VISBACKENDS', 'LOG_PROCESSORS', 'WEIGHT_INITIALIZERS')
#: names that other registries know, or none
CLASSES = dict(LN2d=LayerNorm2d, Pretrained=PretrainedInit,
               SyncBN=torch.nn.SyncBatchNorm, BN=torch.nn.BatchNorm2d, ReLU=torch.nn.ReLU)


def class_named(name):
    """The class behind a type's name, as an import statement would give it."""
    if name in CLASSES:
        return CLASSES[name]
    if hasattr(ops, name):
        return getattr(ops, name)
    for one in REGISTRIES:
        with getattr(registry, one).switch_scope_and_registry(None) as found:
            if isinstance(found.get(name), type):
                return found.get(name)
    raise AssertionError(f'no class for {name}')


def with_classes(node):
    """A config whose types are classes."""
    if isinstance(node, dict):
        return {key: class_named(value) if key == 'type' and isinstance(value, str) else
                with_classes(value) for key, value in node.items()}
    return type(node)(map(with_classes, node)) if isinstance(node, (list, tuple)) else node


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(root, train=4, val=2, size=64)
    return root


def train(config, work_dir):
    """Weights at the end and figures."""
    config.update(work_dir=str(work_dir), experiment_name=uuid.uuid4().hex, log_level='ERROR')
    set_device(config, 'cpu')
    check_config(config, training=True)
    runner = Runner.from_cfg(config)
    runner.train()
    return runner, {key: value.current() for key, value in runner.message_hub.log_scalars.items()
                    if key.startswith('val/') and 'time' not in key}


@pytest.mark.parametrize('make', [
    pytest.param(detector_config, marks=pytest.mark.slow), segmenter_config])
def test_classes_for_types_are_the_same_run(make, shapes, tmp_path):
    config = make(shapes, 'none', workers=0)
    config.model.backbone.norm_cfg = dict(type='LN2d')
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=3, val_interval=2)
    config.param_scheduler = [dict(type='LinearLR', start_factor=.1, by_epoch=False, end=3)]
    config.optim_wrapper.type = 'AmpOptimWrapper'  # becomes OptimWrapper on a CPU
    for key in ('decode_head', 'auxiliary_head'):
        if key in config.model:
            config.model[key].norm_cfg = dict(type='SyncBN', requires_grad=True)
    plain = config._cfg_dict.to_dict()
    with default_scope(config):
        classes = Config(with_classes(plain))
    assert classes.model.backbone.type.__name__ == 'ConvNeXt'
    runner, figures = train(Config(copy.deepcopy(plain)), tmp_path / 'names')
    other, other_figures = train(classes, tmp_path / 'classes')
    assert figures and figures == other_figures
    weights, others = runner.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(weights[key], others[key]) for key in weights)
    assert type(runner.train_loop) is type(other.train_loop)
    assert type(runner.train_dataloader.dataset.dataset) is type(
        other.train_dataloader.dataset.dataset)
    # resume takes up the run of the names, exactly
    classes.update(resume=True, load_from=str(tmp_path / 'names/iter_2.pth'))
    resumed, _ = train(classes, tmp_path / 'resumed')
    weights = resumed.model.state_dict()
    assert all(torch.equal(weights[key], others[key]) for key in weights)


FILE = '''
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import LoggerHook, ParamSchedulerHook
from mmengine.optim import PolyLR
from mmengine.runner import IterBasedTrainLoop, TestLoop, ValLoop
from mmseg.datasets import BaseSegDataset, LoadAnnotations, PackSegInputs
from mmseg.evaluation import IoUMetric
from mmseg.models import FCNHead, SegDataPreProcessor
from torch.optim import AdamW

from convnext_dense.models import ConvNeXt
from convnext_dense.runtime import CheckpointHook
from convnext_dense.segmentation import EncoderDecoder

default_scope = 'mmseg'
classes = ('background', 'disc', 'ring', 'square', 'triangle', 'star')
model = dict(
    type=EncoderDecoder, data_preprocessor=dict(type=SegDataPreProcessor, size=(64, 64)),
    backbone=dict(type=ConvNeXt, arch=dict(depths=(1, 1, 1, 1), channels=(8, 16, 24, 32))),
    decode_head=dict(type=FCNHead, in_channels=32, channels=8, num_classes=6, dropout_ratio=0.),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
pipeline = [dict(type=LoadImageFromFile),
            dict(type=LoadAnnotations, reduce_zero_label=True), dict(type=PackSegInputs)]
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type=InfiniteSampler),
    dataset=dict(type=BaseSegDataset, data_root='shapes', pipeline=pipeline,
                 reduce_zero_label=True, data_prefix=dict(
        img_path='images/training', seg_map_path='annotations/training')))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=BaseSegDataset, data_root='shapes', pipeline=pipeline,
                 reduce_zero_label=True, data_prefix=dict(
        img_path='images/validation', seg_map_path='annotations/validation')))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type=IoUMetric, iou_metrics=['mIoU'])
train_cfg = dict(type=IterBasedTrainLoop, max_iters=2, val_interval=2)
val_cfg, test_cfg = dict(type=ValLoop), dict(type=TestLoop)
optim_wrapper = dict(optimizer=dict(type=AdamW, lr=.001))
param_scheduler = [dict(type=PolyLR, end=2, by_epoch=False)]
default_hooks = dict(
    logger=dict(type=LoggerHook, interval=1), param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=CheckpointHook, by_epoch=False, interval=2, save_best='mIoU'))
'''


def test_such_a_file_goes_through_every_command(shapes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('shapes').symlink_to(shapes)
    Path('pure.py').write_text(FILE)
    config = load_config('pure.py')
    assert config.model.decode_head.num_classes == 6
    assert main(['check-data', 'pure.py', '--samples', '0']) == 0
    assert main(['train', 'pure.py', '--device', 'cpu']) == 0
    assert main(['train', 'pure.py', '--device', 'cpu', '--resume', '--cfg-options',
                 'train_cfg.max_iters=4']) == 0
    assert list(Path('work_dirs/pure').glob('iter_4.pth'))
    assert main(['test', 'pure.py', 'work_dirs/pure/iter_4.pth', '--device', 'cpu']) == 0
    predictor = Predictor('work_dirs/pure', device='cpu')
    assert predictor.names == config.classes
    assert len(list(predictor(sorted(shapes.glob('images/training/*'))))) == 4
    assert 'mIoU' in capsys.readouterr().out
