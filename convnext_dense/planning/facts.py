"""What a choice of model and schedule depends on: facts about data and machine."""
from __future__ import annotations

from statistics import median
from typing import NamedTuple

import numpy as np

from convnext_dense.cores import core_count
from convnext_dense.datasets.importers.source import Source


class DataFacts(NamedTuple):
    """Facts about a data set.

    Attributes:
        task: ``masks``, ``boxes`` or ``labels``.
        train, val, test: numbers of images.
        classes: number of classes.
        objects: number of instances; 0 for label maps.
        width, height: medians over the images, in pixels.
        small: side in pixels that nine of ten objects exceed (the root of the box's area); 0 for
            label maps.
    """
    task: str
    train: int
    val: int
    test: int
    classes: int
    objects: int
    width: int
    height: int
    small: float


class Machine(NamedTuple):
    """Facts about a machine.

    Attributes:
        cores: of the CPU that this process may use.
        gpu: name of the GPU, or None.
        gpu_memory: of it, in GiB.
    """
    cores: int
    gpu: str | None = None
    gpu_memory: float = 0.


def data_facts(source: Source) -> DataFacts:
    """The facts about a source that was checked and split."""
    numbers = {split: sum(image.split == split for image in source.images)
               for split in ('train', 'val', 'test')}
    sizes = [image.size for image in source.images if image.size]
    sides = [float(one.box[2] * one.box[3])**.5
             for image in source.images for one in image.instances]
    return DataFacts(source.task, **numbers, classes=len(source.classes), objects=len(sides),
                     width=round(median(size[0] for size in sizes)),
                     height=round(median(size[1] for size in sizes)),
                     small=round(float(np.percentile(sides, 10)), 1) if sides else 0.)


def this_machine(device: str | None = None) -> Machine:
    """The facts about this machine; ``device='cpu'`` leaves a GPU aside."""
    cores = core_count()
    if device == 'cpu':
        return Machine(cores)
    import torch
    if not torch.cuda.is_available():
        return Machine(cores)
    properties = torch.cuda.get_device_properties(0)
    return Machine(cores, properties.name, round(properties.total_memory / 2**30, 1))
