"""The split of each image of a source: as the source says, the missing ones made."""
from __future__ import annotations

from collections import Counter

import numpy as np

from convnext_dense.datasets.importers.source import IGNORED, SPLITS, Source
from convnext_dense.datasets.splitting import choose_validation, groups_of
from convnext_dense.errors import InputError


def assign_splits(source: Source, seed: int = 0) -> str:
    """Give every image a split; train and val both get some.

    Images without a split are divided; where the source has only one of train and val, so are
    those of that one. A test set stays as it is, and validates where there is no training set
    that could be divided.

    Args:
        source: its images are changed.
        seed: of the division.

    Returns:
        What was done, in one sentence.

    Raises:
        InputError: fewer than two images, or only images for testing.
    """
    by_split = Counter(image.split for image in source.images)
    if by_split['train'] and by_split['val']:
        for image in source.images:
            image.split = image.split or 'train'
        done = 'train and val as in the source'
    else:
        pool = [image for image in source.images if image.split != 'test']
        if len(pool) < 2:
            raise InputError(f'{len(source.images)} images, {len(pool)} of them not for testing: '
                             'too few to train on some and validate on others; annotate more')
        groups = groups_of([image.name for image in pool])
        classes = [_classes_of(source, image) for image in pool]
        for image, val in zip(pool, choose_validation(groups, classes, seed)):
            image.split = 'val' if val else 'train'
        scenes = f' in {len(set(groups))} groups that the file names tell apart' \
            if len(set(groups)) < len(pool) else ''
        done = f'no split in the source: {len(pool)} images{scenes} divided, seed {seed}'
    numbers = Counter(image.split for image in source.images)
    return done + ' (' + ', '.join(f'{numbers[split]} {split}' for split in SPLITS
                                   if numbers[split]) + ')'


def _classes_of(source, image):
    if source.labels_of and image.label_map:
        return [str(value) for value in np.unique(source.labels_of(image.label_map))
                if value != IGNORED]
    return [instance.name for instance in image.instances]
