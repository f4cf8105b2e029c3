"""``train --init-from``: a detector and a segmenter of three classes become ones of others."""
import pytest
import torch
from test_train_and_test import CONFIGS, TASKS, TINY, data, trained  # noqa: F401

from convnext_dense.checkpoints.class_layers import layout_of
from convnext_dense.cli import main

# of the embedded data set's classes: those of the smaller file, in its own order, and a foreign one
CLASSES = {'detector': ('star', 'cone', 'disc'), 'segmenter': ('star', 'cone', 'background')}
ROWS = {'detector': [4, 1, 0], 'segmenter': [5, 1, 0]}
TOLD = {'detector': 'of 5 classes 2 from the file (disc, star), 3 fresh (ring, square, triangle)',
        'segmenter': 'of 6 classes 2 from the file (background, star), 4 fresh (disc, ring, '
                     'square, triangle)'}


def smaller(checkpoint, task):
    """A file of three classes, as a training with three classes writes it."""
    whole = dict(detector=5, segmenter=6)[task]
    for key, value in checkpoint['state_dict'].items():
        if value.ndim and layout_of(key, value.ndim) and len(value) in (whole, whole + 1):
            rows = ROWS[task] + [whole] * (len(value) - whole)
            checkpoint['state_dict'][key] = value[rows].clone()
    checkpoint['meta']['dataset_meta']['classes'] = CLASSES[task]
    return checkpoint


def train(task, data, folder, *options):  # noqa: F811
    tiny = [option for option in TINY if 'val_interval' not in option]
    return main(['train', str(CONFIGS / TASKS[task]['config']), '--data-root', str(data),
                 '--work-dir', str(folder), '--device', 'cpu', *options, '--cfg-options', *tiny,
                 'train_cfg.val_interval=9', 'optim_wrapper.optimizer.lr=0',
                 'param_scheduler.0.eta_max=1e-12'])


@pytest.mark.parametrize('task', [
    pytest.param('detector', marks=pytest.mark.slow), 'segmenter'])
def test_rows_of_common_classes_come_from_the_file(task, data, trained, tmp_path):  # noqa: F811
    checkpoint = smaller(torch.load(trained[task] / 'iter_2.pth', weights_only=False), task)
    source = tmp_path / 'three.pth'
    torch.save(checkpoint, source)
    assert train(task, data, tmp_path / 'run', '--init-from', str(source)) == 0
    log, = (tmp_path / 'run').rglob('2*.log')
    assert TOLD[task] in log.read_text()
    after = torch.load(tmp_path / 'run' / 'iter_2.pth', weights_only=False)['state_dict']
    original = torch.load(trained[task] / 'iter_2.pth', weights_only=False)['state_dict']
    compared = 0
    for key, value in after.items():
        if layout_of(key, value.ndim) and 'fc_reg' not in key:
            kept = [row for row in ROWS[task] if row != 1]
            torch.testing.assert_close(value[kept], original[key][kept])
            assert not torch.equal(value[1], original[key][1])
            compared += 1
    assert compared >= 4
    # a resumed run needs the file no longer
    source.unlink()
    assert train(task, data, tmp_path / 'run', '--init-from', str(source), '--resume') == 0


def test_options_that_contradict_each_other_are_one_line(data, tmp_path, capsys):  # noqa: F811
    assert train('segmenter', data, tmp_path, '--init-classes', 'a') == 2
    assert 'give that, too' in capsys.readouterr().err
    assert main(['train', str(CONFIGS / TASKS['segmenter']['config']), '--data-root', str(data),
                 '--work-dir', str(tmp_path), '--device', 'cpu', '--init-from', 'a.pth',
                 '--cfg-options', 'load_from=b.pth']) == 2
    assert 'init_from are both set' in capsys.readouterr().err
