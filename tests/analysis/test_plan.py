"""``convnext-dense plan``: a config on many GPUs, before any of them is rented."""
import pytest

from convnext_dense.analysis.plan import job_of
from convnext_dense.cli import main
from convnext_dense.config import load_config

SMALL = 'upernet_convnextv2-atto_camvid'
HUGE = 'upernet_convnextv2-h_8xb2-160k_ade20k-512x512'


def planned(capsys, *words):
    assert main(['plan', *words]) == 0
    return capsys.readouterr().out


def row(text, title):
    """The figures of the line that begins with a title, as numbers."""
    line = next(line for line in text.splitlines() if line.split('  ')[-1].startswith(title)
                or f' {title} ' in f' {line} ')
    return [float(word) for word in line.split() if word.replace('.', '', 1).isdigit()]


def test_groups_hold_every_parameter_once():
    from convnext_dense.analysis.complexity import build_on_meta
    cfg = load_config(HUGE)
    job = job_of(cfg, (512, 512), 2)
    whole = sum(parameter.numel() for parameter in build_on_meta(cfg).parameters())
    assert job.parameters == whole and len(job.groups) == 1 + 1 + 9 + 1 + 1
    assert job.trained == 1 and job.moments == 2 and job.averages == 0
    assert job.operations > 2 * 2 * 6e11  # two images, more than the backbone's 600 G


def test_checkpointed_blocks_compute_again_and_keep_less():
    cfg = load_config(SMALL)
    plain = job_of(cfg, (128, 160), 2)
    cfg.model.backbone.with_cp = True
    all_of_them = job_of(cfg, (128, 160), 2)
    cfg.model.backbone.with_cp = [3]
    one = job_of(cfg, (128, 160), 2)
    assert plain.recomputed == 0 < one.recomputed < all_of_them.recomputed < plain.operations
    assert all_of_them.kept < one.kept < plain.kept


def test_a_sheet_has_both_strategies(capsys):
    text = planned(capsys, HUGE, '--gpus', '64', '--gpu', 'h100', '--link', '400Gb')
    assert f'{HUGE} on 64 x h100' in text
    assert '128 images a step (2 a process x 64 processes), of 512x512 pixels' in text
    assert 'the learning rate is for 16: --auto-scale-lr multiplies it by 2.83' in text
    one, ddp, fsdp = row(text, 'weights')
    assert one == ddp and fsdp == pytest.approx(ddp / 64, abs=.01)
    assert '160000 steps' in text and 'for as many images 20000 steps' in text
    assert 'fsdp: all is hidden behind' in text and 'the link has 400' in text


def test_one_gpu_has_no_strategies(capsys):
    text = planned(capsys, SMALL, '--gpus', '1', '--size', '160x128')
    assert 'ddp' not in text and 'fsdp' not in text and '1 process' in text


def test_epochs_need_the_number_of_images(capsys):
    name = 'mask-rcnn_convnext-t_fpn_amp-ms-crop-1x_coco'
    assert 'give --images' in planned(capsys, name)
    assert '12 epochs of 118287 images' in planned(capsys, name, '--images', '118287')


def test_heads_whose_memory_is_not_known_are_said(capsys):
    text = planned(capsys, 'dino_convnextv2-atto_pennfudan', '--size', '160x128', '--gpus', '2')
    assert 'unknown' in text and 'compute, ms' in text


@pytest.mark.parametrize('words, message', [
    (['--gpus', '0'], '--gpus 0: give a number'), (['--utilization', '2'], '--utilization 2.0'),
    (['--gpu', 'gpu'], 'known are'), (['--link', 'x'], '--link x'), (['--size', 'x'], '--size x')])
def test_what_cannot_be_is_one_line(capsys, words, message):
    assert main(['plan', SMALL, *words]) == 2
    assert message in capsys.readouterr().err
