"""The learning rate for another batch: linear for SGD, by the root for Adam's relatives."""
import pytest

from convnext_dense.errors import InputError
from convnext_dense.optim.batch_scaling import change_rates, described_batch, lr_factor, lr_rule


@pytest.mark.parametrize('optimizer, rule, expected', [
    ('SGD', None, 'linear'), ('AdamW', None, 'sqrt'), ('Adam', None, 'sqrt'),
    ('SGD', 'sqrt', 'sqrt'), ('AdamW', 'linear', 'linear')])
def test_the_rule_is_the_optimizers_unless_the_config_has_one(optimizer, rule, expected):
    assert lr_rule(optimizer, rule) == expected


def test_another_rule_is_refused():
    with pytest.raises(InputError, match="auto_scale_lr.rule='cubic'; give one of linear, sqrt"):
        lr_rule('SGD', 'cubic')


def test_factors():
    assert lr_factor(64, 16, 'linear') == 4 and lr_factor(64, 16, 'sqrt') == 2
    assert lr_factor(4, 16, 'sqrt') == .5


def test_a_batch_is_told_with_its_factors():
    assert described_batch(2, 8, 1) == '16 images a step (2 a process x 8 processes)'
    assert described_batch(2, 1, 4) == '8 images a step (2 a process x 4 steps together)'
    assert described_batch(4, 1, 1) == '4 images a step'


def test_rates_of_schedules_follow():
    schedules = [dict(type='OneCycleLR', eta_max=.1, total_steps=5),
                 dict(type='CosineAnnealingLR', eta_min=.02, T_max=9), dict(type='MultiStepLR')]
    change_rates(schedules, lambda rate: 2 * rate)
    assert [schedules[0]['eta_max'], schedules[1]['eta_min']] == [.2, .04]
    assert schedules[0]['total_steps'] == 5 and schedules[2] == dict(type='MultiStepLR')
