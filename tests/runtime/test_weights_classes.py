"""Weights whose labels mean other classes than the config's are refused, or said to be."""
import logging
import uuid

import pytest
from mmengine.registry import DATASETS
from tiny import ToyData, toy_config, with_validation

from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner


@DATASETS.register_module()
class NamedToyData(ToyData):
    """Toy images of the given classes."""

    def __init__(self, classes, **kwargs):
        super().__init__(**kwargs)
        self.metainfo = dict(classes=classes)


def config_of(work_dir, classes, **settings):
    config = with_validation(toy_config(work_dir, epochs=1, **settings), 1)
    config.experiment_name = uuid.uuid4().hex
    for name in ('train', 'val'):
        config[f'{name}_dataloader'].dataset.update(type='NamedToyData', classes=classes)
    config.update(test_dataloader=config.val_dataloader, test_evaluator=config.val_evaluator,
                  test_cfg={})
    return config


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp('trained')
    Runner.from_cfg(config_of(folder, ('cat', 'dog', 'emu'))).train()
    return str(folder / 'iter_6.pth')


@pytest.mark.parametrize('work', ['train', 'test'])
def test_the_same_classes_in_another_order_are_refused(weights, tmp_path, work):
    runner = Runner.from_cfg(config_of(tmp_path, ('cat', 'emu', 'dog'), load_from=weights))
    with pytest.raises(InputError) as error:
        getattr(runner, work)()
    assert str(error.value) == (
        f"{weights} was trained on these classes in another order: its label 1 is 'dog', the "
        "config's 'emu'; list the classes in its order, cat, dog, emu, or train with --init-from, "
        'which matches them by name')


def test_other_names_are_said_and_taken_by_number(weights, tmp_path):
    runner = Runner.from_cfg(config_of(tmp_path, ('cat', 'dog', 'fox'), load_from=weights))
    runner.test()
    log, = [handler.baseFilename for handler in runner.logger.handlers
            if isinstance(handler, logging.FileHandler)]
    assert 'was trained on the classes cat, dog, emu, the config has cat, dog, fox' in \
        open(log).read()


@pytest.mark.parametrize('classes', [('cat', 'dog', 'emu'), ['Cat', 'dog ', 'EMU']])
def test_the_same_classes_pass_silently(weights, tmp_path, classes):
    runner = Runner.from_cfg(config_of(tmp_path, classes, load_from=weights))
    runner.test()
    log, = [handler.baseFilename for handler in runner.logger.handlers
            if isinstance(handler, logging.FileHandler)]
    assert 'was trained on' not in open(log).read()
