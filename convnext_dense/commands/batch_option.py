"""What ``train --batch`` does: images a step, as given or the most that fit."""
import sys
from typing import TYPE_CHECKING

from convnext_dense.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config


def set_batch(cfg: 'Config', value: str, device: str, scale_lr: bool = True) -> None:
    """Set the batch size of a training, its learning rate and its number of steps.

    Args:
        cfg: fitted to the device; changed in place.
        value: a number, or ``auto``.
        device: ``cpu`` or ``cuda``.
        scale_lr: let the learning rate follow.

    Raises:
        InputError: no such number, or nothing fits.
    """
    from convnext_dense.config import is_segmenter
    from convnext_dense.planning.batch_size import apply_batch_size
    if not isinstance((cfg.get('train_dataloader') or {}).get('batch_size'), int):
        raise InputError('--batch: the config has no train_dataloader.batch_size to change')
    if value == 'auto':
        if cfg.launcher != 'none':
            raise InputError('--batch auto tries one process alone: try it without --launcher, '
                             'then give the number that it finds')
        least = 2 if is_segmenter(cfg) else 1  # batch norm after pooling needs two
        batch = _largest_on_gpu(cfg, least) if device == 'cuda' else _largest_on_cpu(cfg, least)
        if batch is None:
            raise InputError(f'--batch auto: not even a batch of {least} fits into the memory; '
                             'give smaller images or a smaller model')
    else:
        if not value.isdigit() or int(value) < 1:
            raise InputError(f'--batch {value}: give auto, or a number of images from 1 on')
        batch = int(value)
    _say('; '.join(apply_batch_size(cfg, batch, scale_lr)))


def _largest_on_gpu(cfg, least):
    from convnext_dense.analysis.batch_trial import BatchTrial
    from convnext_dense.planning.batch_size import largest_batch, most_to_try
    _say('a few training steps tell what fits')
    trial = BatchTrial(cfg, 'cuda')

    def fits(batch):
        good = trial.fits(batch)
        _say(f'{batch} images {"fit" if good else "do not fit"}')
        return good

    return largest_batch(fits, least, most_to_try(trial.images, least))


def _largest_on_cpu(cfg, least):
    from convnext_dense.analysis.batch_trial import peaks_on_cpu
    from convnext_dense.analysis.memory import available_bytes
    from convnext_dense.planning.batch_size import SHARE, largest_by_line, most_to_try
    free = available_bytes()
    if free is None:
        raise InputError('--batch auto: this system does not say how much memory is free; give '
                         '--batch a number')
    _say('a few training steps tell what fits')
    peaks, images = peaks_on_cpu(cfg, [least, 2 * least, 4 * least])
    _say(f'{", ".join(f"{batch}: {peak / 2**30:.2f} GiB" for batch, peak in peaks.items())} '
         f'for so many images; {free / 2**30:.1f} GiB are free')
    most = most_to_try(images, least)
    if len(peaks) < 2:
        return least if images <= 2 * least else None
    return largest_by_line(peaks, SHARE * free, most)


def _say(text):
    print(f'batch: {text}', file=sys.stderr, flush=True)
