"""The heads of today train, go on and test on a CPU, shrunk to a few channels a layer."""
import copy

import numpy as np
import pytest
import torch
from config_files import FILES
from test_config_runs import SMALL, runner_of, train_one_step

from convnext_dense.checks.preflight import check_config
from convnext_dense.config import load_config, set_data_root, set_device
from convnext_dense.runtime import Runner

ROWS = dict(
    dino='dino-4scale_convnext-t_8xb2-12e_coco',
    rtmdet='rtmdet-l_convnext-b-in22k_4xb32-100e_coco',
    edge='rtmdet-tiny_convnextv2-atto_4xb32-100e_coco',
    semantic='mask2former_convnext-t_8xb2-160k_ade20k-512x512',
    instances='mask2former_convnext-t_8xb2-lsj-50e_coco',
    panoptic='mask2former_convnext-t_8xb2-lsj-50e_coco-panoptic')
DATA = dict(semantic='ade20k', panoptic='coco_panoptic')
RESIZE = dict(type='Resize', scale=(96, 64), keep_ratio=True)


@pytest.fixture(params=ROWS)
def cfg(request, tmp_path):
    """A row with small backbone, head and images, on one image; checked before it is given."""
    kind = request.param
    cfg = load_config(str(FILES[ROWS[kind]]))
    set_data_root(cfg, request.getfixturevalue(DATA.get(kind, 'coco')))
    set_device(cfg, 'cpu')
    cfg.model.backbone.update(arch=SMALL, init_cfg=None, drop_path_rate=0., with_cp=False)
    shrink_head(cfg, SMALL['channels'])
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.batch_size = min(loader.batch_size, 2)
    shrink_images(cfg, kind)
    cfg.train_cfg.update({'max_epochs' if 'max_epochs' in cfg.train_cfg else 'max_iters': 1})
    cfg.train_cfg.pop('dynamic_intervals', None)
    cfg.work_dir = str(tmp_path)
    check_config(cfg, training=True)
    check_config(cfg, training=False)
    return cfg


def shrink_head(cfg, channels):
    model = cfg.model
    if model.type == 'DINO':
        model.update(num_queries=12)
        model.neck.in_channels = channels[1:]
        model.encoder.num_layers = model.decoder.num_layers = 1
        model.dn_cfg.group_cfg.num_dn_queries = 4
        model.test_cfg.max_per_img = 6
    elif model.type == 'RTMDet':
        model.neck.in_channels = channels[1:]
        if 'num_groups' in model.neck.norm_cfg:
            model.neck.norm_cfg.num_groups = 4
    else:
        head = model.get('decode_head') or model.panoptic_head
        head.in_channels = channels
        head.num_queries = 10
        head.pixel_decoder.encoder.num_layers = head.transformer_decoder.num_layers = 1
        train_cfg = head.get('train_cfg') or model.train_cfg
        train_cfg.num_points = 64
        model.test_cfg.max_per_image = 10


def shrink_images(cfg, kind):
    pipeline = cfg.train_dataloader.dataset.pipeline
    test = cfg.test_dataloader.dataset.pipeline
    if kind == 'semantic':
        cfg.model.data_preprocessor.size = (64, 64)
        for step in pipeline:
            if step.type == 'RandomChoiceResize':
                step.update(scales=[64], max_size=128)
            if step.type == 'RandomCrop':
                step.crop_size = (64, 64)
        test[1].scale = (256, 64)
        return
    if kind == 'dino':
        pipeline[3].transforms = [[RESIZE]]
    for step in (*pipeline, *test):
        for key in ('size', 'crop_size', 'img_scale'):
            if key in step:
                step[key] = (64, 64)
        if step.type == 'RandomResize':
            step.scale = (64, 64)
    test[1].scale = (96, 64) if cfg.model.type != 'RTMDet' else (64, 64)
    for augment in cfg.model.data_preprocessor.get('batch_augments') or ():
        augment.size = (64, 64)


def test_one_step_trains_the_whole_backbone(cfg, tmp_path):
    cfg.param_scheduler = [dict(type='ConstantLR', factor=1.)]
    cfg.train_cfg.update(val_begin=2)
    losses = train_one_step(cfg, tmp_path, warm_up=0)
    assert any('loss' in name for name in losses)
    assert np.isfinite(list(losses.values())).all()


def test_they_are_evaluated(cfg, tmp_path):
    runner = runner_of(cfg, tmp_path)
    runner.model.init_weights()  # a test loads weights; mmdet leaves some parameters unwritten
    result = runner.test()
    if cfg.default_scope == 'mmseg':
        assert 'mIoU' in result
        return
    assert 'coco/bbox_mAP' in result
    panoptic = 'Panoptic' in cfg.test_dataloader.dataset.type
    assert ('coco_panoptic/PQ' in result) == panoptic
    assert ('coco/segm_mAP' in result) == cfg.model.type.endswith('Mask2Former')


def run_steps(cfg, work_dir, steps, **settings):
    """Train so many steps, an epoch of one image each; returns the runner and its last state."""
    cfg = copy.deepcopy(cfg)
    cfg.update(work_dir=str(work_dir), experiment_name=work_dir.name, log_level='WARNING',
               param_scheduler=[dict(type='ConstantLR', factor=1.)], **settings)
    by_epoch = 'max_epochs' in cfg.train_cfg
    cfg.train_cfg.update({'max_epochs' if by_epoch else 'max_iters': steps, 'val_begin': 99})
    cfg.default_hooks.checkpoint.update(interval=2, by_epoch=by_epoch, max_keep_ckpts=9,
                                        save_best=None)
    cfg.default_hooks.logger.interval = 1
    runner = Runner.from_cfg(cfg)
    runner.train()
    last = sorted(work_dir.glob('*_*.pth'))[-1]
    return runner, torch.load(last, weights_only=False)


def assert_same(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)


@pytest.mark.parametrize('cfg', [
    'dino', *(pytest.param(kind, marks=pytest.mark.slow) for kind in ROWS
              # whose data workers remember images for mosaics
              if kind not in ('dino', 'rtmdet'))], indirect=True)
def test_a_run_that_goes_on_ends_bit_identical(cfg, tmp_path):
    _, whole = run_steps(cfg, tmp_path / 'whole', 4)
    middle, = (tmp_path / 'whole').glob('*_2.pth')
    runner, resumed = run_steps(cfg, tmp_path / 'resumed', 4, resume=True, load_from=str(middle))
    assert runner.iter == 4 and whole['meta']['iter'] == resumed['meta']['iter'] == 4
    for part in ('state_dict', 'optimizer', 'ema_state_dict'):
        assert_same(whole.get(part), resumed.get(part))
