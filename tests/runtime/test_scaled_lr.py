"""``--auto-scale-lr``: each recipe's own batch, by the rule that its optimizer wants."""
import pytest
from mmengine.optim import OptimWrapper
from test_resuming import log_of, train
from tiny import ToyModel, toy_config
from torch import optim

from convnext_dense.runtime.scaled_lr import scale_rates


def wrapper(kind=optim.AdamW, accumulated=1):
    return OptimWrapper(kind(ToyModel().parameters(), lr=.1), accumulative_counts=accumulated)


def rate(made):
    return made.optimizer.param_groups[0]['lr']


@pytest.mark.parametrize('kind, batch, processes, accumulated, expected', [
    (optim.AdamW, 4, 4, 1, .1), (optim.AdamW, 4, 16, 1, .2), (optim.SGD, 4, 16, 1, .4),
    (optim.AdamW, 1, 1, 4, .05), (optim.SGD, 2, 2, 1, .025)])
def test_the_rate_follows_the_images_of_all_processes_and_steps(
        kind, batch, processes, accumulated, expected):
    made = wrapper(kind, accumulated)
    line = scale_rates(made, dict(base_batch_size=16, enable=True), dict(batch_size=batch),
                       processes, [])
    assert rate(made) == pytest.approx(expected)
    assert (line is None) == (expected == .1)


def test_another_batch_without_scaling_is_said():
    made = wrapper()
    line = scale_rates(made, dict(base_batch_size=16), dict(batch_size=1), 4, [])
    assert rate(made) == .1
    assert line == ('a batch is 4 images a step (1 a process x 4 processes), but the learning '
                    'rate is for 16; --auto-scale-lr multiplies it by 0.5 (the root of 4 / 16)')


def test_a_recipe_without_a_batch_says_nothing():
    assert scale_rates(wrapper(), {}, dict(batch_size=1), 4, []) is None


@pytest.mark.parametrize('enable', [True, False])
def test_a_run_scales_optimizer_and_schedules_before_they_start(tmp_path, enable):
    config = toy_config(tmp_path, auto_scale_lr=dict(base_batch_size=8, enable=enable),
                        log_level='INFO', param_scheduler=[dict(
                            type='CosineAnnealingLR', eta_min=.005, T_max=18, by_epoch=False)])
    runner, _ = train(config)
    factor = .5 if enable else 1.
    assert rate(runner.optim_wrapper) == pytest.approx(.005 * factor, rel=.1)
    assert ('is multiplied by 0.5' in log_of(tmp_path)) == enable
    assert ('but the learning rate is for 8' in log_of(tmp_path)) == (not enable)
