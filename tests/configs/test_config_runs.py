"""The configs' models train and test on a CPU, shrunk to a few channels a layer."""
import numpy as np
import pytest
import torch
from config_files import FILES

from convnext_dense.config import enable_tta, load_config, set_data_root, set_device
from convnext_dense.runtime import Runner

SMALL = dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 32])
DETECTORS = {
    'mask-rcnn': 'mask-rcnn_convnext-t_fpn_amp-ms-crop-3x_coco',
    'cascade-mask-rcnn': 'cascade-mask-rcnn_convnext-t_fpn_giou-4conv1fc_amp-ms-crop-3x_coco'}
SEGMENTER = 'upernet_convnext-t_8xb2-amp-160k_ade20k-512x512'


def as_list(stages):
    return stages if isinstance(stages, list) else [stages]


def shrunk(name, root):
    """A config with small backbone, images and numbers of regions, on the data in ``root``."""
    cfg = load_config(str(FILES[name]))
    set_data_root(cfg, root)
    set_device(cfg, 'cpu')
    model = cfg.model
    # with two images, drop path would leave whole blocks without gradient
    model.backbone.update(arch=SMALL, init_cfg=None, drop_path_rate=0.)
    if 'neck' in model:
        model.neck.in_channels = SMALL['channels']
        for stage in as_list(model.train_cfg.rcnn):
            stage.sampler.num = 8
        for head in as_list(model.roi_head.bbox_head):
            head.fc_out_channels = 16
        model.train_cfg.rpn_proposal.max_per_img = 20
        model.test_cfg.rpn.max_per_img = 10
        model.test_cfg.rcnn.update(score_thr=0., max_per_img=4)
        cfg.tta_model.max_per_img = 6
        for scale, resize in zip(((64, 48), (96, 64), (128, 96)),
                                 cfg.tta_pipeline[1].transforms[0]):
            resize.scale = scale
    else:
        model.decode_head.update(in_channels=SMALL['channels'], channels=16)
        model.auxiliary_head.update(in_channels=SMALL['channels'][2], channels=16)
        model.test_cfg.update(crop_size=(64, 64), stride=(42, 42))
        for resize in cfg.tta_pipeline[1].transforms[0]:
            resize.scale = tuple(side // 8 for side in resize.scale)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    return cfg


def runner_of(cfg, tmp_path):
    cfg.update(work_dir=str(tmp_path), experiment_name=tmp_path.name, log_level='ERROR')
    cfg.default_hooks.checkpoint = None
    return Runner.from_cfg(cfg)


def train_one_step(cfg, tmp_path, warm_up=1):
    """The losses of one step, which changes every weight of the backbone."""
    # the warm-up's first step is below rounding
    cfg.param_scheduler = cfg.param_scheduler[warm_up:]
    runner = runner_of(cfg, tmp_path)
    weights = {name: weight for name, weight in runner.model.backbone.named_parameters()
               if name.endswith('.weight')}
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    runner.train()
    assert not [name for name in weights if torch.equal(weights[name], before[name])]
    scalars = runner.message_hub.log_scalars
    return {key.removeprefix('train/'): value.current() for key, value in scalars.items()
            if 'loss' in key}


@pytest.mark.parametrize('head', DETECTORS)
def test_detectors_train(head, coco, tmp_path):
    cfg = shrunk(DETECTORS[head], coco)
    cfg.train_cfg.update(max_epochs=1, val_begin=2)
    cfg.train_dataloader.dataset.pipeline[3].transforms = [
        [dict(type='Resize', scale=(96, 64), keep_ratio=True)]]
    losses = train_one_step(cfg, tmp_path)
    names = {'loss_rpn_cls', 'loss_rpn_bbox'} | {
        f'{stage}loss_{kind}' for kind in ('cls', 'bbox', 'mask')
        for stage in (('s0.', 's1.', 's2.') if head.startswith('cascade') else ('', ))}
    assert names <= set(losses)
    assert np.isfinite(list(losses.values())).all()


@pytest.mark.parametrize('tta', [
    pytest.param(False, marks=pytest.mark.slow, id='single-scale'),
    pytest.param(True, id='multi-scale')])
def test_detectors_are_evaluated(tta, coco, tmp_path):
    cfg = shrunk(DETECTORS['cascade-mask-rcnn'], coco)
    if tta:
        enable_tta(cfg)
    else:
        cfg.test_dataloader.dataset.pipeline[1].scale = (96, 64)
    result = runner_of(cfg, tmp_path).test()
    assert {'coco/bbox_mAP', 'coco/segm_mAP'} <= set(result)


def test_segmenters_train(ade20k, tmp_path):
    cfg = shrunk(SEGMENTER, ade20k)
    cfg.train_cfg.update(max_iters=1, val_begin=2)
    cfg.model.data_preprocessor.size = (64, 64)
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'RandomResize':
            step.scale = (256, 64)
        if step.type == 'RandomCrop':
            step.crop_size = (64, 64)
    losses = train_one_step(cfg, tmp_path)
    assert {'decode.loss_ce', 'aux.loss_ce'} <= set(losses)
    assert np.isfinite(list(losses.values())).all()


@pytest.mark.parametrize('tta', [
    pytest.param(False, marks=pytest.mark.slow, id='single-scale'),
    pytest.param(True, id='multi-scale')])
def test_segmenters_are_evaluated(tta, ade20k, tmp_path):
    cfg = shrunk(SEGMENTER, ade20k)
    if tta:
        enable_tta(cfg)
    else:
        cfg.test_dataloader.dataset.pipeline[1].scale = (256, 64)
    assert 'mIoU' in runner_of(cfg, tmp_path).test()
