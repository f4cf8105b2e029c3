"""Schedules: the published lengths, and the learning rate at every step."""
import pytest
import torch
from config_files import ADE20K, COCO, NAMES, config
from mmengine.optim.scheduler import LinearLR, MultiStepLR, PolyLR

SCHEDULERS = dict(LinearLR=LinearLR, MultiStepLR=MultiStepLR, PolyLR=PolyLR)


def learning_rates(cfg, steps, epoch_length=None):
    """Learning rate in every iteration, as a factor of the base one."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.)
    by_iteration, by_epoch = ([
        SCHEDULERS[scheduler.type](optimizer, **{
            key: value for key, value in scheduler.items() if key != 'type'})
        for scheduler in cfg.param_scheduler if scheduler.by_epoch == kind]
        for kind in (False, True))
    for step in range(steps):
        yield optimizer.param_groups[0]['lr']
        due = by_iteration + (by_epoch if epoch_length and not (step + 1) % epoch_length else [])
        optimizer.step()
        for scheduler in due:
            scheduler.step()


@pytest.mark.parametrize('names', [COCO, ADE20K], ids=['coco', 'ade20k'])
def test_all_backbones_have_the_same_schedule(names):
    for name in names:
        for key in ('param_scheduler', 'train_cfg', 'val_cfg', 'test_cfg', 'auto_scale_lr'):
            assert config(name)[key] == config(names[0])[key]


def test_coco_is_the_3x_schedule():
    """36 epochs, a tenth of the learning rate after 27 and again after 33."""
    cfg = config(COCO[0])
    assert cfg.train_cfg.type == 'EpochBasedTrainLoop' and cfg.train_cfg.max_epochs == 36
    rates = list(learning_rates(cfg, 36 * 600, epoch_length=600))
    assert rates[0] == pytest.approx(.001)
    assert rates[:500] == sorted(rates[:500])
    for epoch in range(1, 36):
        factor = 1. if epoch < 27 else .1 if epoch < 33 else .01
        assert rates[600 * epoch] == rates[600 * epoch + 599] == pytest.approx(factor)


def test_ade20k_warms_up_and_falls_to_zero_as_published():
    """The factors of warm-up and polynomial decay multiply, and both begin with iteration 0."""
    cfg = config(ADE20K[0])
    assert cfg.train_cfg.type == 'IterBasedTrainLoop' and cfg.train_cfg.max_iters == 160000
    for step, rate in enumerate(learning_rates(cfg, 160000)):
        warm_up = min(1., 1e-6 + (1 - 1e-6) * step / 1500)
        if step in (0, 1, 749, 1499, 1500, 1501, 80000, 159999):
            assert rate == pytest.approx(warm_up * (1 - step / 160000), abs=1e-3)
    assert rate == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_runtime_fits_the_library(name):
    cfg = config(name)
    library, kind = ('mmdet', 'Det') if name in COCO else ('mmseg', 'Seg')
    assert cfg.default_scope == library
    assert cfg.visualizer.type == f'{kind}LocalVisualizer'
    assert cfg.default_hooks.visualization.type == f'{kind}VisualizationHook'
    assert cfg.default_hooks.checkpoint.by_epoch == cfg.log_processor.by_epoch == (name in COCO)
    assert cfg.randomness.seed is not None
    assert set(cfg.default_hooks) == {'timer', 'logger', 'param_scheduler', 'checkpoint',
                                      'sampler_seed', 'report', 'visualization'}
