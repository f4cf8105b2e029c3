"""`train --batch`: a number, or the most that fit."""
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

sys.path.append(str(Path(__file__).parents[1] / 'datasets/importers'))
from scene import write_coco  # noqa: E402

from convnext_dense.analysis import batch_trial  # noqa: E402
from convnext_dense.analysis.batch_trial import BatchTrial, peaks_on_cpu  # noqa: E402
from convnext_dense.cli import main  # noqa: E402
from convnext_dense.commands.batch_option import set_batch  # noqa: E402
from convnext_dense.config import load_config, set_device  # noqa: E402
from convnext_dense.errors import InputError  # noqa: E402


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A folder as `new` makes it, of images that a step takes moments for."""
    folder = tmp_path_factory.mktemp('project')
    write_coco(folder / 'in')
    assert main(['new', str(folder / 'out'), '--data', str(folder / 'in'), '--device', 'cpu',
                 '--weights', 'none', '--batch', '1']) == 0
    return folder / 'out/config.py'


def config(project):
    cfg = load_config(project)
    set_device(cfg, 'cpu')
    cfg.launcher = 'none'
    return cfg


def test_memory_on_a_cpu_is_measured_in_a_process_of_its_own(project):
    peaks, images = peaks_on_cpu(config(project), [1, 2, 4])
    assert images == 3 and list(peaks) == [1]  # two are more than half of the images
    assert 2**27 < peaks[1] < 2**33


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that holds 5 images a step, as far as torch says."""
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda: (800, 1000))
    monkeypatch.setattr(torch.cuda, 'memory_reserved', lambda: 0)
    monkeypatch.setattr(torch.cuda, 'max_memory_reserved', lambda: 700)
    for name in ('reset_peak_memory_stats', 'empty_cache'):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    tried = []

    def step(self, batch):
        tried.append(batch)
        if batch > 5:
            raise torch.OutOfMemoryError('CUDA out of memory')

    def build(self, cfg, device):
        self.images, self.model = 40, torch.nn.Linear(1, 1)

    monkeypatch.setattr(BatchTrial, 'step', step)
    monkeypatch.setattr(BatchTrial, '__init__', build)
    return tried


def test_on_a_gpu_steps_are_tried(project, gpu, capsys):
    cfg = config(project)
    set_batch(cfg, 'auto', 'cuda')
    assert cfg.train_dataloader.batch_size == 5 and gpu == [1, 2, 4, 8, 6, 5]
    said = capsys.readouterr().err
    assert '8 images do not fit' in said and '5 images a step (the config says 1)' in said


def test_what_fits_by_a_hair_does_not_fit_images_that_vary(project, gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'max_memory_reserved', lambda: 790)
    with pytest.raises(InputError, match='not even a batch of 1 fits'):
        set_batch(config(project), 'auto', 'cuda')


def test_on_a_cpu_the_line_through_the_peaks_decides(project, monkeypatch):
    peaks = {1: 3 * 2**30, 2: 4 * 2**30}
    monkeypatch.setattr(batch_trial, 'peaks_on_cpu', lambda cfg, batches: (peaks, 40))
    monkeypatch.setattr('convnext_dense.analysis.memory.available_bytes', lambda: 10 * 2**30)
    cfg = config(project)
    set_batch(cfg, 'auto', 'cpu')
    assert cfg.train_dataloader.batch_size == 6  # 2 GiB and 1 an image, of 8.5


@pytest.mark.parametrize('value', ['0', 'many', '-1', '1.5'])
def test_a_wrong_number_is_one_line(value, project, capsys):
    assert main(['train', str(project), '--device', 'cpu', f'--batch={value}']) == 2
    assert f'--batch {value}: give auto, or a number' in capsys.readouterr().err


def test_auto_is_for_one_process_and_a_new_run(project, capsys):
    assert main(['train', str(project), '--batch', 'auto', '--resume']) == 2
    assert 'give the number that the run began with' in capsys.readouterr().err
    with pytest.raises(InputError, match='without --launcher'):
        set_batch(Config(dict(config(project).to_dict(), launcher='pytorch')), 'auto', 'cpu')
