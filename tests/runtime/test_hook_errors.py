"""Where a hook fails: settings of a library's hook are one line, a user's bug is a traceback."""
import logging
import uuid

import pytest
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from tiny import toy_config, with_validation

from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner


@HOOKS.register_module()
class BrokenHook(Hook):
    """A user's hook with a bug in one of its methods."""

    def __init__(self, moment, error, text):
        def fail(runner, *args, **kwargs):
            raise error(text)
        setattr(self, moment, fail)


def runner_with(tmp_path, **settings):
    config = with_validation(toy_config(
        tmp_path, log_level='ERROR', experiment_name=uuid.uuid4().hex, epochs=1), 1)
    config.update(settings)
    return Runner.from_cfg(config)


@pytest.mark.parametrize('moment', ['before_train', 'after_train_iter', 'before_val_epoch',
                                    'after_val_iter', 'before_save_checkpoint', 'after_run'])
@pytest.mark.parametrize('error', [ZeroDivisionError, TypeError])
def test_a_bug_in_a_users_hook_keeps_its_traceback_and_is_named(tmp_path, moment, error):
    runner = runner_with(tmp_path)
    runner.register_hook(BrokenHook(moment, error, 'a bug'), 'LOWEST')
    with pytest.raises(error, match='^a bug$') as raised:
        runner.train()
    assert raised.traceback[-1].name == 'fail'
    log, = [handler.baseFilename for handler in runner.logger.handlers
            if isinstance(handler, logging.FileHandler)]
    text = open(log).read()
    assert f'the hook BrokenHook failed in {moment}: {error.__name__}: a bug' in text
    assert 'test_hook_errors.py:' in text


@pytest.mark.parametrize('moment', ['before_run', 'after_train_iter'])
def test_an_input_error_of_a_hook_stays_its_one_line(tmp_path, moment):
    runner = runner_with(tmp_path)
    runner.register_hook(BrokenHook(moment, InputError, 'my file x.txt has no labels'), 'LOWEST')
    with pytest.raises(InputError, match='^my file x.txt has no labels$'):
        runner.train()


def test_before_the_run_any_failure_is_one_of_settings(tmp_path):
    runner = runner_with(tmp_path, custom_hooks=[
        dict(type='BrokenHook', moment='before_run', error=KeyError, text='gamma')])
    with pytest.raises(InputError, match='^the hook BrokenHook failed in before_run: KeyError: '
                       ".*gamma.*; look at its settings"):
        runner.train()


def test_a_librarys_hook_fails_because_of_its_settings(tmp_path):
    """mmengine compares ``save_best`` with the figures of the first validation."""
    config = dict(type='convnext_dense.CheckpointHook', by_epoch=False, interval=1,
                  save_best='mIoU', rule='greater')
    runner = runner_with(tmp_path, default_hooks=dict(checkpoint=config))
    with pytest.raises(InputError) as error:
        runner.train()
    assert 'the hook CheckpointHook failed in after_val_epoch: KeyError: ' in str(error.value)
    assert 'look at its settings (traceback: ' in str(error.value)
    assert '\n' not in str(error.value)
