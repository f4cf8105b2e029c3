"""Whether a config's COCO annotation files, classes and evaluators fit together."""
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from convnext_dense.classes import LOADERS
from convnext_dense.config_nodes import full_type_name, nested, type_name
from convnext_dense.datasets.coco_file import CocoFile, read_coco, read_outline
from convnext_dense.datasets.coco_requirements import (
    category_labels,
    check_drawable,
    check_images_left,
    check_masks,
    check_same_classes,
    instances,
    listed,
    same_order,
)
from convnext_dense.datasets.other_formats import import_hint
from convnext_dense.datasets.splits import Split, class_list, is_local
from convnext_dense.errors import InputError, convert_errors

MASKS_MISSING = ('use a config for boxes alone (no mask head, with_mask=False in the pipelines, '
                 "metric='bbox'), or leave these annotations out")


def check_coco(split: Split) -> CocoFile:
    """The annotation file of a data set; of a large one only its outline.

    Raises:
        InputError: the data set cannot be loaded from it.
    """
    check_there(split)
    content, whole = read_outline(split.dataset.ann_file, split.where)
    check_content(split, content, whole)
    return content


def check_there(split: Split) -> None:
    """Raise InputError for an annotation file that is missing, and name the importer."""
    path = split.dataset.ann_file
    if not os.path.isfile(path):
        raise InputError(f'{split.where}: the annotation file {path} does not exist; correct '
                         "ann_file, or give the data set's folder with --data-root"
                         + import_hint(split.dataset.data_root))


def check_content(split: Split, content: CocoFile, whole: bool = True,
                  masks: bool = True) -> None:
    """Raise InputError where a data set cannot be loaded from its annotation file.

    Args:
        split: the data set.
        content: of its annotation file.
        whole: the content is more than an outline.
        masks: look at each mask that the pipeline loads.
    """
    dataset, where = split.dataset, split.where
    content.refuse(where, mended=is_own(dataset))
    labels = category_labels(where, content, split.classes)
    if not is_own(dataset):
        _check_order(where, content, split.classes, f'{type(dataset).__name__} numbers',
                     "use the type 'convnext_dense.CocoDataset', or list the classes")
    if not whole:
        return
    check_images_left(where, content, split.classes, labels, dataset.filter_cfg,
                      dataset.test_mode)
    if masks and loads_masks(split):
        check_masks(f'{where}: the pipeline loads masks', content, instances(content, labels),
                    MASKS_MISSING)
    if dataset.test_mode:
        check_drawable(where, content)


def is_own(dataset: Any) -> bool:
    """Whether a data set reads its file with the toolkit's reader."""
    return type(dataset).load_data_list.__module__ == 'convnext_dense.datasets.coco_dataset'


def loads_masks(split: Split) -> bool:
    """Whether the pipeline of a data set loads instance masks."""
    return any(step.get('with_mask') for step in nested(split.cfg.get('pipeline') or []))


def _check_order(where: str, content: CocoFile, classes: tuple, who: str, remedy: str) -> None:
    if not same_order(classes, content):
        raise InputError(
            f'{where}: {content.name} has its categories in the order '
            f'{listed(content.category_names, 6)}, the config its classes in the order '
            f'{listed(classes, 6)}: {who} the labels in the order of the file; {remedy} in the '
            'order of the file')


def check_class_order(cfg: Mapping, found: Iterable[Split]) -> None:
    """Raise InputError where the data sets of a config give their labels to different classes."""
    first: tuple[str, tuple] | None = None
    for split in found:
        if split.classes:
            first = first or (split.where, split.classes)
            check_same_classes(split.where, split.classes, *first)
    training = class_list(cfg, LOADERS[0])
    if first and training and not first[0].startswith('train'):
        check_same_classes(*first, LOADERS[0], training)


def check_coco_evaluators(where: str, evaluator: Any, found: Iterable[Split]) -> None:
    """Raise InputError for an evaluator that cannot judge the data set of its loader.

    Args:
        where: ``val_evaluator`` or ``test_evaluator``.
        evaluator: its config, or a list of them.
        found: the data sets of the config.
    """
    loader = where.removesuffix('_evaluator')
    splits = [split for split in found if split.name.rstrip('0123456789') == loader]
    for part in evaluator if isinstance(evaluator, (list, tuple)) else [evaluator or {}]:
        if not isinstance(part, Mapping):
            continue
        path = part.get('ann_file')
        if not path or not isinstance(path, str) or '://' in path or not is_local(part):
            continue
        if not os.path.isfile(path):
            raise InputError(f'{where}: the annotation file {path} does not exist; correct '
                             'ann_file, or give the data set\'s folder with --data-root')
        with convert_errors(f'{where}: {path}', 'look at the file and at the evaluator'):
            if type_name(part) == 'CocoMetric':
                _check_metric(where, part, splits)


def _check_metric(where: str, part: Mapping, splits: list[Split]) -> None:
    own = full_type_name(part).startswith('convnext_dense.')
    metrics = part.get('metric', 'bbox')
    masks = 'segm' in (metrics if isinstance(metrics, (list, tuple)) else [metrics])
    content = read_coco(part['ann_file'], where, masks=masks)
    content.refuse(where, files=False, mended=own)
    for split in splits:
        if split.kind != 'coco' or not split.classes or not is_local(split.cfg):
            continue
        labels = category_labels(where, content, split.classes)
        if not own:
            _check_order(where, content, split.classes, 'mmdet\'s CocoMetric takes',
                         "use the type 'convnext_dense.CocoMetric', or list the classes")
        _check_same_images(where, content, split)
        if masks:
            check_masks(f"{where}: metric='segm'", content, labels[content.categories] >= 0,
                        MASKS_MISSING)
            check_drawable(where, content)


def _check_same_images(where: str, content: CocoFile, split: Split) -> None:
    """The evaluator must know every image of the data set, and under the same id."""
    path = split.dataset.ann_file
    if os.path.realpath(path) == os.path.realpath(content.name):
        return
    of_data = read_coco(path, split.where, masks=False)
    places = {image_id: place for place, image_id in enumerate(content.image_ids)}
    lacking = [image_id for image_id in of_data.image_ids if image_id not in places]
    if lacking:
        raise InputError(
            f'{where}: {content.name} lacks {len(lacking)} of the {len(of_data.image_ids)} images '
            f'of {path} ({split.where}), such as id {lacking[0]!r}; both must name the same '
            'annotation file')
    for place, image_id in enumerate(of_data.image_ids):
        other = places[image_id]
        names = of_data.file_names[place], content.file_names[other]
        if None not in names and os.path.basename(names[0] or '') != os.path.basename(
                names[1] or ''):
            raise InputError(
                f'{where}: image {image_id!r} is {names[1]} in {content.name}, but {names[0]} in '
                f'{path} ({split.where}); both must name the same annotation file')
        sizes = of_data.sizes[place], content.sizes[other]
        if all(side.all() for side in sizes) and not np.array_equal(*sizes):
            raise InputError(
                f'{where}: image {image_id!r} is {"x".join(map(str, sizes[1]))} in {content.name}, '
                f'but {"x".join(map(str, sizes[0]))} in {path} ({split.where}); both must name '
                'the same annotation file')
