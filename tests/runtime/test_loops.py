"""Steps that fail in code of others."""
import re
import uuid
from pathlib import Path

import pytest
import torch
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


@pytest.mark.parametrize('error', [torch.OutOfMemoryError('CUDA'), MemoryError()])
def test_want_of_memory_is_no_matter_of_images(tmp_path, error):
    with pytest.raises(type(error)):
        run(tmp_path, 'loss', error)
