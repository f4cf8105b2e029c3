"""Several data sets in one training, each seen as often as its weight says."""
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from convnext_dense.errors import InputError
from convnext_dense.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class WeightedInfiniteSampler(Sampler):
    """Indices without end of a ``ConcatDataset``, for loops that count iterations.

    Each sample comes from a data set that is drawn by weight. The data set's images follow one
    another in a random order, all of them before one comes again. What all processes draw together
    does not depend on their number.

    Args:
        dataset (ConcatDataset): in training.
        weights (Sequence[float]): one a data set, 0 and above; shares of the samples.
        shuffle (bool): False takes the images of each data set in their order.
        seed (int, optional): of the draws; by default a random one, the same in all processes.

    Raises:
        InputError: no concatenated data sets, or weights that do not fit them.
    """

    def __init__(self, dataset: Any, weights: Sequence[float], shuffle: bool = True,
                 seed: int | None = None) -> None:
        self.sizes = [len(part) for part in getattr(dataset, 'datasets', ())]
        self.weights = _checked(weights, self.sizes)
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.rank, self.processes = get_dist_info()

    def __iter__(self) -> Iterator[int]:
        return islice(self._all(), self.rank, None, self.processes)

    def _all(self):
        """The indices of all processes together."""
        generator = torch.Generator().manual_seed(self.seed)
        starts = [sum(self.sizes[:number]) for number in range(len(self.sizes))]
        parts = [self._of_part(*part) for part in enumerate(zip(self.sizes, starts))]
        while True:
            for part in torch.multinomial(self.weights, 1024, True, generator=generator).tolist():
                yield next(parts[part])

    def _of_part(self, number, extent):
        size, start = extent
        generator = torch.Generator().manual_seed(self.seed + number + 1)
        while True:
            order = torch.randperm(size, generator=generator) if self.shuffle else \
                torch.arange(size)
            yield from (order + start).tolist()

    def __len__(self) -> int:
        """Images of all data sets."""
        return sum(self.sizes)


def _checked(weights, sizes):
    """The weights as a tensor."""
    where = 'train_dataloader.sampler, a WeightedInfiniteSampler'
    if not sizes:
        raise InputError(f"{where}, is for a dataset of type='ConcatDataset' with several "
                         'datasets; use an InfiniteSampler for one')
    if not isinstance(weights, (list, tuple)) or len(weights) != len(sizes):
        raise InputError(f'{where}: weights={weights!r}; give {len(sizes)} numbers, one for each '
                         'of the datasets')
    for number, (weight, size) in enumerate(zip(weights, sizes)):
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or \
                not 0 <= weight < float('inf'):
            raise InputError(f'{where}: weights[{number}]={weight!r}; give a number of 0 and above')
        if weight and not size:
            raise InputError(f'{where}: datasets[{number}] has no images, but the weight '
                             f'{weight:g}; look at its settings, or give it the weight 0')
    if not any(weights):
        raise InputError(f'{where}: all weights are 0')
    return torch.tensor(weights, dtype=torch.float64)
