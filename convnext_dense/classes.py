"""The class list of a config's data sets, and the numbers of classes that follow from it."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from convnext_dense.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
#: parts of a model whose ``num_classes``, if any, is not that of the data set
NO_CLASSES = ('backbone', 'neck', 'rpn_head', 'data_preprocessor', 'train_cfg', 'test_cfg')
ROI_HEAD_CLASSES = 80  # num_classes of mmdet's RoI heads where a config leaves it out


def apply_classes(cfg: Config) -> None:
    """Give the data sets the config's class list, and the heads their number of classes.

    A top-level ``classes = ('cat', 'dog')`` becomes the ``metainfo`` of every data set. Then each
    head's ``num_classes``, and a class weight that is one number for all classes and one for the
    background, follow the training data sets' ``metainfo.classes`` where these agree.

    Args:
        cfg (mmengine.Config): changed in place.

    Raises:
        InputError: ``classes`` is no list of different names.
    """
    if cfg.get('classes') is not None:
        check_names(cfg.classes)
        for loader in LOADERS:
            for dataset in data_sets((cfg.get(loader) or {}).get('dataset')):
                if names_of(dataset) != tuple(cfg.classes):  # else it may have a palette, too
                    dataset['metainfo'] = dict(classes=tuple(cfg.classes))
    lists = {names_of(dataset)
             for dataset in data_sets((cfg.get('train_dataloader') or {}).get('dataset'))}
    if len(lists) == 1 and cfg.get('model'):
        names, = lists
        if names:
            set_number(cfg.model.get('module', cfg.model), len(names))


def check_names(classes: object) -> None:
    """Raise InputError unless ``classes`` is a list of different names."""
    if isinstance(classes, str):
        raise InputError(f"classes = {classes!r} is one string; write classes = ('{classes}', ) "
                         'with a comma for a single class')
    if not isinstance(classes, (list, tuple)) or not classes or not all(
            isinstance(name, str) for name in classes):
        raise InputError(f"classes = {classes!r}: give the names, such as ('cat', 'dog')")
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise InputError(f'classes names {twice[0]!r} more than once; each class needs a name of '
                         'its own')


def names_of(dataset: dict) -> tuple:
    """The classes in a data set's ``metainfo``; () where it leaves them to its type."""
    return tuple((dataset.get('metainfo') or {}).get('classes') or ())


def data_sets(dataset: Any) -> Iterator[dict]:
    """The data sets inside of wrappers such as RepeatDataset and ConcatDataset."""
    if isinstance(dataset, (list, tuple)):
        for part in dataset:
            yield from data_sets(part)
    elif isinstance(dataset, dict):
        inner = dataset.get('datasets') or dataset.get('dataset')
        if inner:
            yield from data_sets(inner)
        else:
            yield dataset


def set_number(model: dict, number: int) -> None:
    """Set every head's number of classes to ``number``."""
    for _, head, before in heads(model):
        head['num_classes'] = number
        _resize_weights(head, before, number)
    for name, part in model.items():
        # heads of Mask2Former: an instance segmenter has no class of stuff
        if name not in NO_CLASSES and isinstance(part, dict) and \
                part.get('num_things_classes') and not part.get('num_stuff_classes'):
            _resize_weights(part, part['num_things_classes'], number)
            part['num_things_classes'] = number


def _resize_weights(head, before, number):
    for loss in head.values():
        weights = loss.get('class_weight') if isinstance(loss, dict) else None
        if isinstance(weights, (list, tuple)) and len(weights) == before + 1 and \
                len(set(weights[:-1])) == 1:
            loss['class_weight'] = [weights[0]] * number + [weights[-1]]


def class_counts(model: dict) -> list[tuple[str, int]]:
    """Every head's path and number of classes: ``[('roi_head.bbox_head.0', 80), ...]``."""
    return [(path, count) for path, _, count in heads(model)]


def heads(model: dict) -> list[tuple[str, dict, int]]:
    """Path, config and number of classes of every head that predicts classes."""
    found: list[tuple[str, dict, int]] = []
    for name, part in model.items():
        if name not in NO_CLASSES:
            _collect(part, name, found)
    return found


def _collect(node, path, found):
    if isinstance(node, (list, tuple)):
        for number, child in enumerate(node):
            _collect(child, f'{path}.{number}', found)
    elif isinstance(node, dict):
        name = path.rstrip('.0123456789').rpartition('.')[2]
        if 'num_classes' in node:
            found.append((path, node, node['num_classes']))
        elif path.startswith('roi_head.') and name in ('bbox_head', 'mask_head') \
                and node.get('type'):
            found.append((path, node, ROI_HEAD_CLASSES))
        for key, child in node.items():
            if not key.startswith('loss') and isinstance(child, (dict, list, tuple)):
                _collect(child, f'{path}.{key}', found)
