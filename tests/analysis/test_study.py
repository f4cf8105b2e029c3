"""The plan of a comparison that trains, and the lines that say how fair it was."""
from pathlib import Path

import pytest
from mmengine.config import Config

from convnext_dense.analysis.comparison import Model, Run
from convnext_dense.analysis.complexity import Complexity, Part
from convnext_dense.analysis.fairness import fairness_lines
from convnext_dense.analysis.study import Study, Training

STUDY = Study(dict(A=Path('a.py'), B=Path('b.py')), (.001, .01), (1, 2), 0)
FIGURES = {Training('A', .001, 0): 40., Training('A', .01, 0): 50.,
           Training('B', .001, 0): 30., Training('B', .01, 0): 30.}


def test_each_model_tries_each_learning_rate_once_with_the_tuning_seed():
    assert STUDY.tuning() == [Training('A', .001, 0), Training('B', .001, 0),
                              Training('A', .01, 0), Training('B', .01, 0)]


def test_the_best_learning_rate_trains_the_seeds_that_count():
    lrs = STUDY.choose(FIGURES)
    assert lrs == dict(A=.01, B=.001)
    assert STUDY.counted(lrs) == [Training('A', .01, 1), Training('B', .001, 1),
                                  Training('A', .01, 2), Training('B', .001, 2)]


def test_tuning_is_told_with_every_try():
    assert STUDY.tuning_lines(FIGURES)[1:] == [
        'A: 0.001 reached 40.0, 0.01 reached 50.0; took 0.01, the end of the grid: a wider one may '
        'serve it better.',
        'B: 0.001 reached 30.0, 0.01 reached 30.0; took 0.001, the end of the grid: a wider one '
        'may serve it better.']


def test_a_grid_of_one_is_not_tuned():
    study = Study(STUDY.configs, (.001, ), (1, ), 0)
    assert study.tuning() == [] and study.choose({}) == dict(A=.001, B=.001)
    assert 'nothing was tuned' in study.tuning_lines({})[0]


def test_the_seed_that_tunes_does_not_count():
    with pytest.raises(ValueError, match='both tunes and counts'):
        Study(STUDY.configs, (.001, .01), (0, 1), 0)


def model(name, seeds, params=10**6, batch=8, lr=.001, weights=None):
    cfgs = [Config(dict(
        randomness=dict(seed=seed), train_dataloader=dict(batch_size=batch),
        param_scheduler=[dict(type='OneCycleLR', eta_max=lr)],
        model=dict(neck=dict(in_channels=[len(name)], channels=4), backbone=dict(
            type=name, init_cfg=weights and dict(type='Pretrained', checkpoint=weights)))))
        for seed in seeds]
    return Model(name, name, cfgs[0], runs=[Run(str(cfg.randomness.seed), cfg) for cfg in cfgs],
                 complexity=Complexity((64, 64), 0, 0, dict(backbone=Part(params, 10**9))))


def lines(*models, **kwargs):
    return fairness_lines(list(models), {each.name: each.name for each in models}, **kwargs)


def test_what_is_equal_is_said_to_be():
    larger = model('Two', (1, 2), 1_040_000)
    assert lines(model('One', (1, 2)), larger, tuning=['Tuned alike.']) == [
        'Seeds 1, 2 of each model: images in the same order, with the same augmentation.',
        'Same heads, augmentation, number of updates and recipe.',
        'Each model starts from nothing.',
        'Parameters of the whole models within 4.0 %.',
        'Multiply-adds of the whole models within 0.0 %.', 'Tuned alike.']


def test_what_differs_is_named():
    assert lines(model('One', (1, 2)), model('Two', (3, ), 1_100_000, batch=4, lr=.01)) == [
        'Different seeds: One: 1, 2; Two: 3.',
        'Same heads, augmentation, number of updates and recipe, except '
        'train_dataloader.batch_size (One: 8, Two: 4); param_scheduler.0.eta_max (One: 0.001, '
        'Two: 0.01).',
        'Each model starts from nothing.',
        'Parameters differ by 10 %, more than 5 %: One 1.0 M, Two 1.1 M.',
        'Multiply-adds of the whole models within 0.0 %.',
        'What was tuned for whom is not known here.']


@pytest.mark.parametrize('first, second, line', [
    ('a.pth', 'a.pth', 'Each model starts from a.pth.'),
    ('a.pth', 'b.pth', 'Each model starts from weights of its own: One from a.pth, Two from '
                       'b.pth.'),
    (None, 'b.pth', 'Not all models start from weights: One from nothing, Two from b.pth.')])
def test_what_models_start_from_is_said(first, second, line):
    assert lines(model('One', (1, ), weights=first), model('Two', (1, ), weights=second))[2] == line


def test_published_models_need_no_fairness_lines():
    assert lines(Model('a', 'a'), Model('b', 'b')) == []
