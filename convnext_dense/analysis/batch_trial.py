"""Training steps of several batch sizes, tried for their memory.

The model, its optimizer and the data are built as a training builds them, and thrown away. A batch
holds the largest of some loaded samples as often as needed, so that the trial takes what a run's
heaviest steps take.
"""
import copy
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, init_default_scope

from convnext_dense.acceleration import Acceleration, prepare
from convnext_dense.analysis.memory import peak_bytes
from convnext_dense.errors import InputError, convert_errors, is_out_of_memory
from convnext_dense.runtime.trainable_hook import TrainableHook

SAMPLES = 16  # that are loaded to find a large one
STEPS = 2  # of each trial: the optimizer's state comes with the first
GPU_SHARE = .92  # of the free memory that a trial may take: a run's images vary


class BatchTrial:
    """A training whose steps can be tried.

    Args:
        cfg: of a training, fitted to the device.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: model or data cannot be built.
    """

    def __init__(self, cfg: Config, device: str) -> None:
        self.device = device
        cfg = copy.deepcopy(cfg)
        init_default_scope(cfg.get('default_scope', 'mmengine'))
        with convert_errors('the batch size cannot be tried', 'look at the model and the training '
                            'data of the config, or give --batch a number'):
            self.sample, self.images = _large_sample(DATASETS.build(cfg.train_dataloader.dataset))
            cfg.model.pop('init_cfg', None)
            self.model = MODELS.build(cfg.model)
            TrainableHook(cfg.get('freeze'), cfg.get('lora')).apply(self.model)
            self.model.to(device).train()
            prepare(self.model, 'train', settings=Acceleration.from_config(
                cfg.get('acceleration'), cfg.get('compile')))
            self.optimizer = build_optim_wrapper(self.model, cfg.optim_wrapper)

    def step(self, batch: int) -> None:
        """Train on a batch of so many images."""
        for _ in range(STEPS):
            self.model.train_step(pseudo_collate([copy.deepcopy(self.sample)
                                                  for _ in range(batch)]), self.optimizer)

    def fits(self, batch: int) -> bool:
        """Whether the GPU's memory holds a training of this batch size."""
        free, _ = torch.cuda.mem_get_info()
        room = GPU_SHARE * (free + torch.cuda.memory_reserved())
        torch.cuda.reset_peak_memory_stats()
        try:
            self.step(batch)
            return torch.cuda.max_memory_reserved() <= room
        except Exception as error:
            if not is_out_of_memory(error):
                raise InputError(f'a training step of {batch} images, tried for its memory, fails: '
                                 f'{type(error).__name__}: {str(error).splitlines()[0]}; give '
                                 '--batch a number') from error
            return False
        finally:
            self.model.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()


def peaks_on_cpu(cfg: Config, batches: Sequence[int]) -> tuple[dict[int, int], int]:
    """The memory that a training of each batch size takes, measured in a process of its own.

    Args:
        cfg: of a training, fitted to the CPU.
        batches: ascending; none but the first exceeds half of the images.

    Returns:
        Bytes for those of the sizes for which there was memory, at least one, and the number of
        training images.

    Raises:
        InputError: not even the first fits.
    """
    peaks: dict[int, int] = {}
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        images = pool.submit(_build, cfg.to_dict(), cfg.filename).result()
        try:
            for batch in batches:
                if not peaks or batch <= images // 2:
                    peaks[batch] = pool.submit(_peak_after, batch).result()
        except (BrokenProcessPool, MemoryError, RuntimeError) as error:
            # the system ends a process that takes too much, or refuses it more
            if not isinstance(error, BrokenProcessPool) and not is_out_of_memory(error):
                raise
            if not peaks:
                raise InputError(f'this machine has no memory for a training step of {batches[0]} '
                                 'images: give smaller images or a smaller model') from error
    return peaks, images


_trials: list[BatchTrial] = []  # of the measuring process, which ends with the measurement


def _build(cfg: dict[str, Any], filename: str | None) -> int:
    from convnext_dense.acceleration.cpu.allocator import keep_freed_memory
    keep_freed_memory()
    _trials.append(BatchTrial(Config(cfg, filename=filename), 'cpu'))
    return _trials[0].images


def _peak_after(batch: int) -> int:
    _trials[0].step(batch)
    return peak_bytes()


def _large_sample(dataset: Any) -> tuple[Any, int]:
    """The sample with the largest image, and of those the one with the most objects."""
    count = min(len(dataset), SAMPLES)
    samples = [dataset[index * len(dataset) // count] for index in range(count)]
    return max(samples, key=_size_of), len(dataset)


def _size_of(sample):
    instances = getattr(sample['data_samples'], 'gt_instances', ())
    return sample['inputs'].shape[-2:].numel(), len(instances)
