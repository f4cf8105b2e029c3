"""A run prepares its model before it first runs: to train, or for inference alone."""
from unittest import mock

import pytest
import torch
from tiny import toy_config, with_validation

from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner


def runner(work_dir, **settings):
    config = with_validation(toy_config(work_dir, epochs=1, **settings), interval=1)
    return Runner.from_cfg(config)


def is_channels_last(model):
    return model.conv.weight.is_contiguous(memory_format=torch.channels_last)


def is_trainable(model):
    """Prepared models are not."""
    return all(parameter.requires_grad for parameter in model.parameters())


def test_training_keeps_a_model_that_can_be_trained(tmp_path):
    run = runner(tmp_path)
    run.train()  # and validates
    assert is_channels_last(run.model) and is_trainable(run.model)
    assert run.model.norm.num_batches_tracked == 6


def test_evaluation_alone_prepares_the_model(tmp_path):
    run = runner(tmp_path)
    run.val()
    assert is_channels_last(run.model) and not is_trainable(run.model)
    with pytest.raises(InputError, match='prepared for inference'):
        run.train()


def test_weights_that_a_moving_average_swaps_are_not_changed(tmp_path):
    run = runner(tmp_path, custom_hooks=[dict(type='EMAHook')])
    run.val()
    assert is_channels_last(run.model) and is_trainable(run.model)


def test_switched_off_the_layers_stay_as_they_are(tmp_path):
    run = runner(tmp_path, acceleration=False)
    run.val()
    assert not is_channels_last(run.model)


def test_a_setting_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(InputError, match="acceleration.memory_format='nhwc'; give one of"):
        runner(tmp_path, acceleration=dict(memory_format='nhwc'))


def test_the_log_says_in_one_line_what_was_prepared(tmp_path):
    run = runner(tmp_path)
    with mock.patch.object(run.logger, 'info') as info:
        run.train()
    lines = [call.args[0] for call in info.call_args_list if 'model prepared' in call.args[0]]
    assert len(lines) == 1 and 'model prepared to train: channels_last' in lines[0]
