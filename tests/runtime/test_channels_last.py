"""The setting memory_format: layout of the weights, and preparation of what is only evaluated."""
import pytest
import torch
from tiny import toy_config, with_validation

from convnext_dense.acceleration.cpu.winograd import WinogradConv2d
from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner
from convnext_dense.runtime.channels_last import arrange_for_training


def runner(work_dir, **settings):
    config = with_validation(toy_config(work_dir, epochs=1, **settings), interval=1)
    return Runner.from_cfg(config)


def is_channels_last(model):
    return model.conv.weight.is_contiguous(memory_format=torch.channels_last)


def is_trainable(model):
    """Prepared models are not."""
    return all(parameter.requires_grad for parameter in model.parameters())


def test_training_keeps_a_model_that_can_be_trained(tmp_path):
    run = runner(tmp_path, memory_format='channels_last')
    run.train()  # and validates
    assert is_channels_last(run.model) and is_trainable(run.model)
    assert run.model.norm.num_batches_tracked == 6


@pytest.mark.parametrize('channels, compiles, replaced', [
    (64, False, True), (63, False, False), (64, True, False)])
def test_large_convolutions_are_trained_by_winograd(channels, compiles, replaced):
    conv = torch.nn.Conv2d(64, channels, 3, padding=1)
    model = torch.nn.Sequential(conv)
    arrange_for_training(model, compiles)
    assert isinstance(model[0], WinogradConv2d) == replaced
    assert model[0].weight is conv.weight
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_evaluation_alone_prepares_the_model(tmp_path):
    run = runner(tmp_path, memory_format='channels_last')
    run.val()
    assert is_channels_last(run.model) and not is_trainable(run.model)
    with pytest.raises(InputError, match='prepared for inference'):
        run.train()


def test_weights_that_a_moving_average_swaps_are_not_changed(tmp_path):
    run = runner(tmp_path, memory_format='channels_last', custom_hooks=[dict(type='EMAHook')])
    run.val()
    assert is_channels_last(run.model) and is_trainable(run.model)


@pytest.mark.parametrize('settings', [{}, dict(memory_format='contiguous')])
def test_without_the_setting_nothing_changes(tmp_path, settings):
    run = runner(tmp_path, **settings)
    run.val()
    assert not is_channels_last(run.model) and is_trainable(run.model)


def test_a_format_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(InputError, match="memory_format 'nhwc': give channels_last"):
        runner(tmp_path, memory_format='nhwc')
