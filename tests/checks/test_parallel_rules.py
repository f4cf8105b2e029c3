"""What ``parallel`` does not go with is one line before any work."""
import pytest
from mmengine.config import Config

from convnext_dense.checks.parallel_rules import strategies
from convnext_dense.checks.rule import Settings
from convnext_dense.checks.settings import RULES

OPTIMIZER = dict(type='AdamW', lr=1e-4)


def found(parallel, training=True, **settings):
    cfg = Config(dict(dict(parallel=parallel, launcher='pytorch', optim_wrapper=dict(
        type='OptimWrapper', optimizer=OPTIMIZER)), **settings))
    return list(strategies(Settings(cfg, {}, [], training)))


@pytest.mark.parametrize('parallel, settings, words', [
    (dict(type='ddp'), dict(model_wrapper_cfg=dict(static_graph=True)), 'model_wrapper_cfg both'),
    (dict(type='ddp', static_graph=True), dict(find_unused_parameters=True),
     'leave out find_unused_parameters'),
    (dict(type='ddp', static_graph=True),
     dict(optim_wrapper=dict(optimizer=OPTIMIZER, accumulative_counts=4)),
     'accumulative_counts=4'),
    (dict(type='fsdp'), dict(launcher='none'), 'this run is one process: start it with --gpus N'),
    (dict(type='fsdp'), dict(lora=dict(rank=4)), 'lora do not go together'),
    (dict(type='fsdp'), dict(find_unused_parameters=True), "use type='ddp'"),
    (dict(type='fsdp'), dict(compile=True), 'compile or cuda_graphs'),
    (dict(type='fsdp'), dict(acceleration=dict(cuda_graphs=3)), 'compile or cuda_graphs'),
    (dict(type='fsdp'), dict(acceleration=dict(ops='auto')), "ops='auto'"),
    (dict(type='fsdp', param_dtype='bfloat16'), {}, 'needs a training in mixed precision'),
    (dict(type='fsdp'), dict(optim_wrapper=dict(backbone=dict(optimizer=OPTIMIZER))),
     'one optimizer')])
def test_what_does_not_go_together_is_named(parallel, settings, words):
    lines = found(parallel, **settings)
    assert len(lines) == 1 and words in lines[0] and '\n' not in lines[0]
    assert not found(parallel, training=False, **settings)


@pytest.mark.parametrize('parallel, settings', [
    (None, dict(launcher='none')), (dict(type='ddp'), dict(launcher='none')),
    (dict(type='ddp', static_graph=True, bfloat16_gradients=True), {}), (dict(type='fsdp'), {}),
    (dict(type='fsdp', param_dtype='bfloat16'),
     dict(optim_wrapper=dict(type='AmpOptimWrapper', optimizer=OPTIMIZER)))])
def test_the_rest_goes(parallel, settings):
    assert found(parallel, **settings) == []


def test_a_config_that_is_only_looked_at_has_no_launcher_yet():
    cfg = Config(dict(parallel=dict(type='fsdp'), optim_wrapper=dict(optimizer=OPTIMIZER)))
    assert list(strategies(Settings(cfg, {}, [], True))) == []


def test_preflight_has_the_rule():
    assert any(rule.check is strategies and rule.stops for rule in RULES)
