"""A data loader of a config, its samples seeded, its bad ones replaced, its start settable."""
from typing import Any

import torch
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset, IterableDataset

from convnext_dense.classes import LOADERS
from convnext_dense.errors import InputError
from convnext_dense.runtime.annotations import build_dataset
from convnext_dense.runtime.bad_image_list import BadImageList
from convnext_dense.runtime.guarded_pipeline import guard_pipelines
from convnext_dense.runtime.samples import (
    NamedCollate,
    ResumableBatchSampler,
    SeededDataset,
    SeededSampler,
    StartWorker,
)
from convnext_dense.runtime.workers import end_with_process


def build_loader(config: dict, name: str, bad_images: BadImageList, run_seed: int,
                 seed: int | None = None, diff_rank_seed: bool = False) -> DataLoader:
    """mmengine's data loader with this package's reading of samples.

    Args:
        config (dict): of the data loader; it is changed.
        name (str): of the data loader in the config, for errors.
        bad_images (BadImageList): where bad samples are written down.
        run_seed (int): from which samples are augmented.
        seed, diff_rank_seed: see mmengine's ``Runner.build_dataloader``.

    Raises:
        InputError: no data set, or no batch size.
    """
    dataset_cfg, sampler_cfg = config.get('dataset'), config.get('sampler')
    batches_cfg = config.get('batch_sampler')
    if not isinstance(dataset_cfg, (dict, Dataset)):
        raise InputError(f'{name}.dataset is {dataset_cfg!r}; expected a dict with the type of the '
                         'data set and its arguments')

    def dataset_type(**_: Any) -> Dataset:
        dataset = build_dataset(dict(dataset_cfg), bad_images) if isinstance(
            dataset_cfg, dict) else dataset_cfg
        if isinstance(dataset, IterableDataset):
            return dataset
        # mmseg's validation sets are not in test_mode
        training = name == 'train_dataloader' if name in LOADERS else not getattr(
            dataset, 'test_mode', False)
        guard_pipelines(dataset, bad_images, training)
        return SeededDataset(dataset, bad_images, replace=training)

    def sampler_type(dataset: Dataset, seed: int) -> SeededSampler:
        sampler = DATA_SAMPLERS.build(dict(sampler_cfg or {}),
                                      default_args=dict(dataset=dataset, seed=seed))
        return SeededSampler(sampler, run_seed)

    def batch_sampler_type(sampler: Any, batch_size: int) -> ResumableBatchSampler:
        return ResumableBatchSampler(DATA_SAMPLERS.build(dict(batches_cfg or {}), default_args=dict(
            sampler=sampler, batch_size=batch_size)), name)

    # functions as types: mmengine builds the parts in its own order, and copies no data set
    config['dataset'] = dict(type=dataset_type)
    if isinstance(sampler_cfg, dict):
        config['sampler'] = dict(type=sampler_type)
    if isinstance(batches_cfg, dict):
        config['batch_sampler'] = dict(type=batch_sampler_type)
    loader = Runner.build_dataloader(config, seed, diff_rank_seed)
    if not isinstance(loader.dataset, IterableDataset):
        if loader.batch_sampler is None:
            raise InputError(f'{name}.batch_size is None; give the number of images of a batch')
        loader.collate_fn = NamedCollate(loader.collate_fn, name)
    loader.generator = torch.Generator()  # or each iterator draws from the global one
    loader.generator.manual_seed(run_seed)
    loader.worker_init_fn = StartWorker(loader.worker_init_fn)
    end_with_process()
    return loader
