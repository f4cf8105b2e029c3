"""Steps that fail in code of others."""
import errno
import logging
import os
import re
import uuid
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from tiny import ToyModel, toy_config, with_validation

from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner


class Sample:
    img_path = 'street/7.jpg'


@MODELS.register_module()
class Choking(ToyModel):
    """Its loss cannot work with the second batch, or its prediction with the first."""

    def __init__(self, mode, error):
        super().__init__()
        self.mode, self.error, self.calls = mode, error, 0

    def forward(self, inputs, data_samples=None, mode='loss'):
        self.calls += 1
        if mode == self.mode and (mode != 'loss' or self.calls == 2):
            raise self.error
        return super().forward(inputs, data_samples, mode)


def run(work_dir, mode, error):
    config = with_validation(toy_config(
        work_dir, epochs=1, experiment_name=f'run_{uuid.uuid4().hex}'), 1)
    runner = Runner.from_cfg(config)
    runner.model = Choking(mode, error)
    for loader in (runner.train_dataloader, runner.val_dataloader):
        collate = loader.collate_fn.collate
        loader.collate_fn.collate = lambda samples, collate=collate: dict(
            collate(samples), data_samples=[Sample() for _ in samples])
    runner.train()


@pytest.mark.parametrize('mode, work', [('loss', 'training'), ('predict', 'evaluation')])
def test_a_failing_step_names_its_images_and_keeps_the_traceback(tmp_path, mode, work):
    with pytest.raises(InputError) as error:
        run(tmp_path, mode, IndexError('target 7 is out of bounds'))
    text = str(error.value)
    assert text.startswith(f'{work} failed on street/7.jpg, street/7.jpg: IndexError: target 7 is '
                           'out of bounds (test_loops.py:')
    assert isinstance(error.value.__cause__, IndexError)
    path = re.search(r'\(traceback: (.*)\)', text)[1]
    assert 'raise self.error' in Path(path).read_text()


@pytest.mark.parametrize('error, whose', [
    (torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.'), "the GPU's"),
    (MemoryError(), "this machine's"),
    (RuntimeError('[enforce fail] . DefaultCPUAllocator: not enough memory'), "this machine's")])
def test_want_of_memory_names_what_to_change(tmp_path, error, whose):
    with pytest.raises(InputError) as raised:
        run(tmp_path, 'loss', error)
    text = str(raised.value)
    assert text.startswith(f'{whose} memory does not hold a training step of 2 images; give a '
                           'smaller batch (--batch 1, or --batch auto)')
    assert 'smaller images' in text and ('--amp' in text) == (whose == "the GPU's")
    assert 'street/7.jpg' not in text and '\n' not in text


def test_want_of_memory_in_a_validation_names_its_batch(tmp_path):
    with pytest.raises(InputError, match='a step of evaluation of 2 images; '
                       'set val_dataloader.batch_size=1'):
        run(tmp_path, 'predict', torch.OutOfMemoryError('CUDA out of memory'))


@pytest.mark.parametrize('by_epoch', [True, False])
def test_training_data_without_a_batch_are_refused(tmp_path, by_epoch):
    config = toy_config(tmp_path, by_epoch=by_epoch, length=4, batch_size=4)
    config.train_dataloader.update(batch_size=8, drop_last=True)
    if not by_epoch:
        config.train_dataloader.sampler.type = 'DefaultSampler'
    with pytest.raises(InputError, match='give not a single batch: too few images'):
        Runner.from_cfg(config).train()
    assert not list(tmp_path.glob('*.pth'))


def test_the_end_of_a_run_says_what_is_where(tmp_path):
    folder = tmp_path / 'my runs'
    folder.mkdir()
    config = with_validation(toy_config(
        folder, log_level='INFO', experiment_name=f'run_{uuid.uuid4().hex}'), 1,
        scores=[.1, .3, .2])
    config.default_hooks.checkpoint.update(save_best='score', rule='greater')
    config.dump(folder / 'my_config.py')
    runner = Runner.from_cfg(Config.fromfile(folder / 'my_config.py'))
    runner.train()
    log, = [path.read_text() for path in folder.glob('*/*.log')]
    best = folder / 'best_score_iter_12.pth'
    assert [line.split(' - INFO - ')[1] for line in log.splitlines()[-6:]] == [
        f'best weights: {best}', f'last checkpoint: {folder}/iter_18.pth',
        f'log: {runner.log_dir}', f'curves: {folder}/curves.png',
        f"next: convnext-dense test '{folder}/my_config.py' '{best}'",
        f"or: convnext-dense predict IMAGES --model '{folder}'"]
    assert cv2.imread(f'{folder}/curves.png') is not None


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize('where', ['log', 'curves'])
def test_a_full_disk_while_a_line_is_written_ends_in_one_line(
        tmp_path, code, where, monkeypatch, capfd):
    runner = Runner.from_cfg(toy_config(
        tmp_path, log_level='INFO', experiment_name=f'run_{uuid.uuid4().hex}'))
    log, = [handler for handler in runner.logger.handlers
            if isinstance(handler, logging.FileHandler)]

    def refuse(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    class FillDisk(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 2:
                monkeypatch.setattr(*(log, 'flush') if where == 'log' else (
                    runner.visualizer, 'add_scalars'), refuse)
            runner.logger.info('a line')
            runner.visualizer.add_scalars({})
    runner.register_hook(FillDisk(), 'LOWEST')
    with pytest.raises(InputError, match=f'cannot be written: {os.strerror(code)}') as error:
        runner.train()
    monkeypatch.undo()
    assert '\n' not in str(error.value) and 'go on with --resume' in str(error.value)
    assert 'Logging error' not in capfd.readouterr().err
