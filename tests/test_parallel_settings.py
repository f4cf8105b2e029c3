"""``parallel`` of a config."""
import pytest

from convnext_dense.errors import InputError
from convnext_dense.parallel import DdpSettings, FsdpSettings, parallel_settings


def test_without_a_setting_each_process_has_the_whole_model():
    assert parallel_settings(None) == parallel_settings(dict(type='ddp')) == DdpSettings()


def test_settings_are_those_of_their_type():
    assert parallel_settings(dict(type='fsdp', blocks=1, param_dtype='bfloat16')) == FsdpSettings(
        blocks=1, param_dtype='bfloat16')
    assert parallel_settings(dict(type='ddp', static_graph=True)).static_graph


@pytest.mark.parametrize('setting, words', [
    ('fsdp', 'give dict'), (dict(type='zero'), 'give dict'), (dict(static_graph=True), 'give dict'),
    (dict(type='fsdp', static_graph=True), "fsdp has no 'static_graph'; its settings are blocks"),
    (dict(type='ddp', blocks=3), "ddp has no 'blocks'"),
    (dict(type='fsdp', blocks=0), 'blocks=0; give a whole number from 1 on'),
    (dict(type='fsdp', blocks=True), 'blocks=True; give a whole number'),
    (dict(type='ddp', static_graph=1), 'static_graph=1; give True or False'),
    (dict(type='fsdp', param_dtype='float16'), "param_dtype='float16'; give one of None")])
def test_others_are_refused_by_name(setting, words):
    with pytest.raises(InputError, match=f'^parallel.*{words}'):
        parallel_settings(setting)
