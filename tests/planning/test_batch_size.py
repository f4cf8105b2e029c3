"""The largest batch that fits, and what follows a batch size."""
import pytest
from mmengine.config import Config

from convnext_dense.planning.batch_size import (
    apply_batch_size,
    largest_batch,
    largest_by_line,
    most_to_try,
)


@pytest.mark.parametrize('least', [1, 2])
@pytest.mark.parametrize('limit', [2, 3, 5, 8, 13, 31, 32, 1000])
def test_the_largest_that_fits_is_found_in_few_trials(limit, least):
    tried = []

    def fits(batch):
        tried.append(batch)
        return batch <= limit

    assert largest_batch(fits, least, 32) == min(limit, 32)
    assert len(tried) <= 10 and len(set(tried)) == len(tried) and max(tried) <= 32


def test_where_nothing_fits_there_is_no_batch():
    assert largest_batch(lambda batch: False, 2, 32) is None


@pytest.mark.parametrize('free, expected', [(10., 2), (10.9, 2), (11., 3), (9., 1), (8., None),
                                            (1000., 32)])
def test_memory_grows_on_a_line(free, expected):
    # 8 for nothing and 1 for an image
    assert largest_by_line({1: 9., 2: 10.}, free, 32) == expected


def test_memory_that_does_not_grow_holds_any_batch():
    assert largest_by_line({1: 9., 2: 9.}, 10., 16) == 16
    assert largest_by_line({1: 9., 2: 9.}, 8., 16) is None


def test_no_more_than_half_of_the_images_or_32_are_a_batch():
    assert [most_to_try(images, 2) for images in (2, 14, 60, 10**6)] == [2, 7, 30, 32]


def training(**settings):
    return Config(dict(
        train_dataloader=dict(batch_size=4),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=2e-3)), **settings))


def test_a_training_in_steps_sees_as_many_images_at_a_rate_that_follows():
    cfg = training(
        train_cfg=dict(max_iters=700, val_interval=175),
        param_scheduler=[dict(type='OneCycleLR', eta_max=2e-3, total_steps=700, pct_start=.1,
                              by_epoch=False)],
        default_hooks=dict(checkpoint=dict(by_epoch=False, interval=175)))
    lines = apply_batch_size(cfg, 16)
    assert cfg.train_dataloader.batch_size == 16
    assert cfg.optim_wrapper.optimizer.lr == cfg.param_scheduler[0].eta_max == 4e-3
    assert dict(cfg.train_cfg) == dict(max_iters=175, val_interval=44)
    assert cfg.param_scheduler[0].total_steps == 175 and cfg.param_scheduler[0].pct_start == .1
    assert cfg.default_hooks.checkpoint.interval == 44
    assert lines == ['16 images a step (the config says 4)', 'lr 0.002 becomes 0.004',
                     '700 steps become 175, of as many images']


@pytest.mark.parametrize('optimizer, auto, lr', [
    ('SGD', {}, .08), ('AdamW', {}, .04), ('AdamW', dict(auto_scale_lr=dict(rule='linear')), .08)])
def test_rates_follow_as_auto_scale_lr_has_them_follow(optimizer, auto, lr):
    cfg = training(train_cfg=dict(max_epochs=12), **auto)
    cfg.optim_wrapper.optimizer = dict(type=optimizer, lr=.02)
    apply_batch_size(cfg, 16)
    assert cfg.optim_wrapper.optimizer.lr == lr


def test_a_training_in_epochs_keeps_its_epochs():
    cfg = training(train_cfg=dict(max_epochs=36, val_interval=1), param_scheduler=[
        dict(type='LinearLR', start_factor=.1, by_epoch=False, begin=0, end=500),
        dict(type='MultiStepLR', by_epoch=True, milestones=[27, 33])])
    before = cfg.copy()
    apply_batch_size(cfg, 1, scale_lr=False)
    assert cfg.train_cfg == before.train_cfg and cfg.param_scheduler == before.param_scheduler
    assert cfg.optim_wrapper.optimizer.lr == 2e-3


def test_the_same_batch_changes_nothing():
    cfg = training(train_cfg=dict(max_iters=700, val_interval=175))
    before = cfg.to_dict()
    assert apply_batch_size(cfg, 4) == ['4 images a step']
    assert cfg.to_dict() == before
