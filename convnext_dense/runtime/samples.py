"""Samples whose augmentation follows from the seed and their place in the run.

Each index that a sampler draws carries its place: (seed, pass over the data, position in the
pass, over all processes). Whoever reads the sample, in whichever data worker, seeds Python,
numpy and torch from that place first. So the images and their augmentations do not depend on the
number of workers, on prefetching, or on what was read before, and a resumed run needs no state of
a data worker: it only starts the sampler at the right place.
"""
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

import cv2
from mmengine.dist import get_dist_info
from mmengine.logging import print_log
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from convnext_dense.errors import InputError, convert_errors
from convnext_dense.private.torch import shut_down_workers
from convnext_dense.runtime.bad_images import write_down
from convnext_dense.runtime.random_state import seed_all, seeded
from convnext_dense.runtime.stop_signals import ignore_in_worker, stop_signals_blocked

IMPORTED_IN = os.getpid()
ATTEMPTS = 10  # other images that are tried in the place of a bad one


class SeededIndex(int):
    """An index of the data set with its place in the run, a tuple of numbers."""

    place: tuple[int, ...]

    def __new__(cls, index: int, place: tuple[int, ...]) -> 'SeededIndex':
        draw = super().__new__(cls, index)
        draw.place = place
        return draw

    def __getnewargs__(self):
        return int(self), self.place


class SeededSampler(Sampler):
    """A sampler's indices as :class:`SeededIndex`, with a settable start.

    Args:
        sampler (Sampler): draws indices of one process.
        seed (int): of the run.
    """

    def __init__(self, sampler: Any, seed: int) -> None:
        self.sampler = sampler
        self.seed = seed
        self.epoch = 0
        self.start = 0

    def __iter__(self):
        rank, world_size = get_dist_info()
        start, self.start = self.start, 0
        for number, index in enumerate(self.sampler):
            if number < start:
                continue
            place = (self.seed, self.epoch, number * world_size + rank)
            yield SeededIndex(index, place) if isinstance(index, int) else index

    def __len__(self):
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Begin another pass over the data."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def __getattr__(self, name):
        if name == 'sampler':  # being unpickled
            raise AttributeError(name)
        return getattr(self.sampler, name)


class ResumableBatchSampler:
    """A batch sampler with a settable start; everything else is the batch sampler's.

    Args:
        batch_sampler (Sampler): gives lists of indices.
        name (str): of the data loader in the config, for errors.
    """

    def __init__(self, batch_sampler: Any, name: str) -> None:
        self.batch_sampler = batch_sampler
        self.name = name
        self.start = 0

    def __iter__(self):
        start, self.start = self.start, 0
        with convert_errors(f'{self.name}.sampler', 'look at the settings of the samplers'):
            for number, batch in enumerate(self.batch_sampler):
                if number >= start:
                    yield batch

    def __len__(self):
        return len(self.batch_sampler)

    def __getattr__(self, name):
        if name == 'batch_sampler':
            raise AttributeError(name)
        return getattr(self.batch_sampler, name)


def start_at(loader: DataLoader, epoch: int, batch: int) -> None:
    """Let the next pass over a data loader be pass ``epoch``, from its batch ``batch`` on.

    Only indices are drawn and dropped; nothing is loaded.
    """
    batches: Any = loader.batch_sampler
    sampler = getattr(batches, 'sampler', loader.sampler)
    if hasattr(sampler, 'set_epoch'):
        sampler.set_epoch(epoch)
    if isinstance(batches, ResumableBatchSampler):
        batches.start = batch
    elif isinstance(sampler, SeededSampler):
        sampler.start = batch * batches.batch_size
    elif batch:
        print_log('the data loader was not built from a config, so it starts at its first batch',
                  'current', logging.WARNING)


class Iterated:
    """A data loader whose workers ignore the signals that end a run, and can be ended.

    Loops iterate over it in the loader's place.

    Args:
        loader: everything else is asked of it.
    """

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        self._iterator: Callable[[], Iterator | None] = lambda: None

    def __iter__(self) -> Iterator:
        with stop_signals_blocked():
            iterator = iter(self.loader)
        self._iterator = ref(iterator)
        return iterator

    def close(self) -> None:
        """End the workers, which else live as long as something, such as an error, holds them."""
        iterator = self._iterator()
        if iterator is not None:
            shut_down_workers(self.loader, iterator)

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


class StartWorker:
    """The first that a data worker does: ignore signals that are for the run, then another's part.

    Args:
        start: the ``worker_init_fn`` of the config.
    """

    def __init__(self, start: Callable[[int], None] | None) -> None:
        self.start = start

    def __call__(self, number: int) -> None:
        ignore_in_worker()
        if self.start is not None:
            self.start(number)


class SeededDataset(Dataset):
    """A data set whose samples are read seeded each, the bad ones replaced or left out.

    torch's data loader asks ``__getitems__`` for the samples of a batch. Everything else is the
    data set's own, also what is set: mmdet's hooks give data sets another pipeline in mid-run.

    Args:
        dataset (Dataset): it has ``__getitem__`` and ``__len__``.
        bad_images (BadImageList): of bad images.
        replace (bool): put another sample in a bad one's place (training), else leave it out.
    """

    OWN = ('dataset', 'bad_images', 'replace')

    def __init__(self, dataset: Any, bad_images: Any, replace: bool) -> None:
        for name, value in zip(self.OWN, (dataset, bad_images, replace)):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name in SeededDataset.OWN:  # being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.dataset, name, value)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, indices: list) -> list:
        if get_worker_info() is not None and os.getpid() == IMPORTED_IN:
            # A spawned worker does not inherit what mmengine set. A forked one does, and would
            # wait for ever for OpenCV's threads to end, which were not forked with it.
            cv2.setNumThreads(1)
        return [sample for index in indices
                for sample in self.read(index, getattr(index, 'place', None))]

    def read(self, index: int, place: tuple[int, ...] | None) -> list:
        """The sample in a list, or an empty list."""
        if place is None:
            return self._read(index, lambda attempt: None)
        if get_worker_info() is not None:
            return self._read(index, lambda attempt: seed_all(*place, attempt))
        with seeded(*place):
            return self._read(index, lambda attempt: seed_all(*place, attempt))

    def _read(self, index, seed):
        index = int(index) if isinstance(index, int) else index
        for attempt in range(ATTEMPTS + 1):
            seed(attempt)
            if attempt:
                import numpy as np
                index = np.random.randint(len(self.dataset))
            try:
                return [self.dataset[index]]
            except (InputError, MemoryError):
                raise
            except Exception as error:
                problem = write_down(self.bad_images, self.dataset, index, error)
            if not self.replace:
                return []
        raise InputError(f'{ATTEMPTS + 1} images in a row cannot be used, the last is {problem}; '
                         'look at the pipeline of the data set and at its folder')


class NamedCollate:
    """A collate function that turns an empty batch into None.

    Args:
        collate (Callable): joins samples.
        name (str): of the data loader in the config, for errors.
    """

    def __init__(self, collate: Callable, name: str) -> None:
        self.collate = collate
        self.name = name

    def __call__(self, samples: list) -> Any:
        with convert_errors(f'{self.name}: its samples do not join to a batch',
                   'look at its pipeline and collate_fn'):
            return self.collate(samples) if samples else None
