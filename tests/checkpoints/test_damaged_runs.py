"""Damaged and malicious files given to ``train`` and ``test``: one line, status 2, nothing run."""
from itertools import product
from pathlib import Path

import pytest
import torch

from convnext_dense.cli import main
from convnext_dense.datasets.shapes import write_shapes

CONFIG = str(Path(__file__).parents[2] / 'configs' / 'demo' / 'upernet_convnext_shapes.py')
TINY = ['model.backbone.arch.depths=[1,1,1,1]', 'train_cfg.max_iters=1', 'train_cfg.val_interval=5',
        'default_hooks.checkpoint.interval=1', 'train_dataloader.batch_size=2',
        *(f'{name}_dataloader.num_workers=0' for name in ('train', 'val', 'test')),
        *(f'{name}_dataloader.persistent_workers=False' for name in ('train', 'val', 'test'))]
NAME = 'backbone.stages.2.0.pwconv1.weight'


class Malicious:

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(root, train=4, val=3, size=96)
    return str(root)


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
    """A checkpoint of one step, as bytes."""
    folder = tmp_path_factory.mktemp('run')
    assert main(['train', CONFIG, '--data-root', data, '--work-dir', str(folder), '--device', 'cpu',
                 '--cfg-options', *TINY]) == 0
    return (folder / 'iter_1.pth').read_bytes()


def without_a_tensor(checkpoint, touched):
    del checkpoint['state_dict'][NAME]


def with_an_extra_tensor(checkpoint, touched):
    checkpoint['state_dict']['backbone.stages.2.0.extra'] = torch.zeros(1)


def with_another_shape(checkpoint, touched):
    checkpoint['state_dict'][NAME] = torch.zeros(3, 3)


def malicious(checkpoint, touched):
    checkpoint['meta']['evil'] = Malicious(touched)


DAMAGES = [0, 1, .5, -1, without_a_tensor, with_an_extra_tensor, with_another_shape, malicious]


@pytest.mark.parametrize('command, damage', [
    *product(['resume'], DAMAGES), *product(['load_from', 'test'], [.5, malicious])])
def test_a_damaged_file_ends_in_one_line(command, damage, data, trained, tmp_path, capsys):
    path, touched = tmp_path / 'damaged.pth', tmp_path / 'touched'
    path.write_bytes(trained)
    if callable(damage):
        checkpoint = torch.load(path, weights_only=False)
        damage(checkpoint, touched)
        torch.save(checkpoint, path)
    else:
        size = int(len(trained) * damage) if damage == .5 else damage % len(trained)
        path.write_bytes(trained[:size])
    options = ['--data-root', data, '--work-dir', str(tmp_path / 'run'), '--device', 'cpu']
    arguments = {'resume': ['train', CONFIG, '--resume', str(path), *options, '--cfg-options'],
                 'load_from': ['train', CONFIG, *options, '--cfg-options', f'load_from={path}'],
                 'test': ['test', CONFIG, str(path), *options, '--cfg-options']}[command]
    capsys.readouterr()
    assert main([*arguments, *TINY]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1 and 'damaged.pth' in errors[0]
    if callable(damage) and damage is not malicious:
        assert NAME in errors[0] or 'extra' in errors[0]
    assert not touched.exists()
