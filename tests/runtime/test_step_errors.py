"""A failing first step names its images only where others pass, however few there are."""
import uuid

import pytest
from mmengine.registry import MODELS
from tiny import ToyModel, toy_config, with_validation

from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner, step_errors


class Image:
    def __init__(self, number):
        self.img_path = f'street/{number}.jpg'


@MODELS.register_module()
class Refusing(ToyModel):
    """Its loss or prediction cannot work with some images, or with any."""

    def __init__(self, mode, bad=None):
        super().__init__()
        self.mode, self.bad = mode, bad

    def forward(self, inputs, data_samples=None, mode='loss'):
        if mode == self.mode and (self.bad is None or any(
                image.img_path in self.bad for image in data_samples)):
            raise RuntimeError('shapes do not match')
        return super().forward(inputs, data_samples, mode)


@MODELS.register_module()
class NeedsTwo(ToyModel):
    """As batch norm behind pooling, it cannot work with one image."""

    def forward(self, inputs, data_samples=None, mode='loss'):
        if mode == 'loss' and len(data_samples) == 1:
            raise ValueError('Expected more than 1 value per channel when training')
        if mode == 'loss':
            raise RuntimeError('shapes do not match')
        return super().forward(inputs, data_samples, mode)


def refuse(gradient):
    raise RuntimeError('no gradient of this operator')


class FailingBackward(ToyModel):
    """Its loss cannot be differentiated."""

    def forward(self, inputs, data_samples=None, mode='loss'):
        losses = super().forward(inputs, data_samples, mode)
        if mode == 'loss':
            losses['loss'].register_hook(refuse)
        return losses


def message(work_dir, model, length, batch_size=2):
    """What a run of a data set of so many images says."""
    config = with_validation(toy_config(
        work_dir, epochs=1, length=length, batch_size=batch_size,
        experiment_name=f'run_{uuid.uuid4().hex}'), 1)
    config.val_dataloader.dataset.length = length
    config.val_dataloader.batch_size = batch_size
    runner = Runner.from_cfg(config)
    for loader in (runner.train_dataloader, runner.val_dataloader):
        collate = loader.collate_fn.collate
        loader.collate_fn.collate = lambda samples, collate=collate: dict(
            collate(samples), data_samples=[Image(int(sample['data_samples']))
                                            for sample in samples])
    runner.model = model
    with pytest.raises(InputError) as error:
        runner.train()
    assert '\n' not in str(error.value)
    return str(error.value)


WORK = dict(loss='training', predict='evaluation')
#: images and images of a batch: batches apart, and batches that hold the same images
SIZES = [(12, 2), (4, 4), (3, 3), (2, 2)]


@pytest.mark.parametrize('mode', WORK)
@pytest.mark.parametrize('length, batch_size', SIZES)
def test_what_fails_with_all_images_is_a_matter_of_settings(tmp_path, mode, length, batch_size):
    text = message(tmp_path, Refusing(mode), length, batch_size)
    assert text.startswith(f'{WORK[mode]} fails on every batch that was tried, not only on street/')
    assert 'RuntimeError: shapes do not match' in text
    assert 'the images are not the cause' in text


@pytest.mark.parametrize('mode', WORK)
@pytest.mark.parametrize('length, batch_size', SIZES[1:])
def test_what_fails_with_one_image_alone_is_a_matter_of_images(tmp_path, mode, length, batch_size):
    text = message(tmp_path, Refusing(mode, {'street/1.jpg'}), length, batch_size)
    assert text.startswith(f'{WORK[mode]} failed on street/') and 'street/1.jpg' in text
    assert 'look at these, their annotations' in text


def test_what_only_the_backward_pass_shows_is_tried_there(tmp_path):
    model = FailingBackward()
    assert 'the images are not the cause' in message(tmp_path, model, 4, 4)


def test_the_images_are_tried_in_batches_that_batch_norm_can_take(tmp_path):
    text = message(tmp_path, NeedsTwo(), 3, 3)
    assert 'RuntimeError: shapes do not match' in text and 'the images are not the cause' in text


def test_a_batch_of_one_image_is_tried_with_one(tmp_path):
    text = message(tmp_path, NeedsTwo(), 3, 1)
    assert 'Expected more than 1 value' in text and 'the images are not the cause' in text


def test_where_there_is_no_other_image_both_are_named(tmp_path):
    text = message(tmp_path, Refusing('loss'), 1, 1)
    assert text.startswith('training failed on street/0.jpg')
    assert 'and whether pipeline and model fit each other' in text


@pytest.mark.parametrize('mode', WORK)
def test_several_processes_do_not_name_images_as_the_cause_of_a_first_step(
        tmp_path, monkeypatch, mode):
    monkeypatch.setattr(step_errors, 'get_world_size', lambda: 2)
    text = message(tmp_path, Refusing(mode), 4, 4)
    assert text.startswith(f'{WORK[mode]} failed on street/') and 'shapes do not match' in text
    assert 'it may be these images or the settings: start one process' in text
