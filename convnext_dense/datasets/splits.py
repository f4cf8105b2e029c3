"""The data sets that a config names, without loading them."""
from __future__ import annotations

import copy
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from convnext_dense.classes import LOADERS
from convnext_dense.errors import InputError, convert_errors

if TYPE_CHECKING:
    from mmengine.config import Config


class Split(NamedTuple):
    """One data set of a config.

    Attributes:
        name (str): ``train``, ``val`` or ``test``; with a number after it where a loader
            concatenates several data sets.
        cfg (dict): its config, without wrappers.
        dataset (mmengine.dataset.BaseDataset): the data set object, not loaded.
        kind (str): ``coco`` (COCO annotations), ``panoptic`` (COCO's panoptic ones), ``labels``
            (one label map an image) or ``other``.
        classes (tuple[str]): names, in label order; empty where the data set has none.
        scope (str): where types without a scope are looked up.
        max_pixels (int | None): the config's ``bad_images.max_pixels``.
    """
    name: str
    cfg: dict
    dataset: Any
    kind: str
    classes: tuple
    scope: str = 'mmengine'
    max_pixels: int | None = None

    @property
    def where(self) -> str:
        """How messages name the data set."""
        return f'{self.name}_dataloader' if self.name.isalpha() else f'{self.name} data set'


def splits(cfg: Config, loaders: Sequence[str] = LOADERS) -> list[Split]:
    """The data sets of a config's loaders, in order.

    Args:
        cfg (mmengine.Config): the config.
        loaders (Sequence[str]): which loaders; those that the config does not have are left out.

    Returns:
        list[Split]

    Raises:
        InputError: a data root that does not exist, an unknown type, or arguments that the type
            does not take.
    """
    found = []
    with default_scope(cfg):
        for loader in loaders:
            name = loader.removesuffix('_dataloader')
            with convert_errors(loader, 'look at its data set in the config'):
                leaves = list(unwrapped((cfg.get(loader) or {}).get('dataset')))
                for number, leaf in enumerate(leaves, 1):
                    split = _split(name + (str(number) if len(leaves) > 1 else ''), leaf)
                    found.append(split._replace(
                        scope=cfg.get('default_scope') or 'mmengine',
                        max_pixels=(cfg.get('bad_images') or {}).get('max_pixels')))
    return found


@contextmanager
def default_scope(cfg: Config) -> Iterator[None]:
    """Find types as the runner of this config will: in its ``default_scope`` first."""
    from mmengine.registry import DefaultScope
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        yield


def unwrapped(dataset: Any) -> Iterator[dict]:
    """The data set configs inside wrappers such as RepeatDataset and ConcatDataset."""
    if isinstance(dataset, (list, tuple)):
        for part in dataset:
            yield from unwrapped(part)
    elif dataset:
        inner = dataset.get('datasets') or dataset.get('dataset')
        if inner:
            yield from unwrapped(inner)
        else:
            yield dataset


def is_local(cfg: Mapping) -> bool:
    """Whether the files of a data set, or of a metric, are on this machine's file systems."""
    backend = (cfg.get('backend_args') or {}).get('backend', 'local')
    return backend == 'local' and '://' not in (cfg.get('data_root') or '')


def _split(name, cfg):
    where = f'{name}_dataloader'
    root = cfg.get('data_root')
    if root and is_local(cfg) and not os.path.isdir(root):
        raise InputError(f'{where}: the data root {root} does not exist; give the folder of the '
                         'data set with --data-root')
    classes = (cfg.get('metainfo') or {}).get('classes')
    if isinstance(classes, str) and not os.path.exists(classes):
        raise InputError(f"{where}: metainfo classes={classes!r} is one string, not a list of "
                         f"names; write classes=('{classes}', ) with the comma")
    dataset = _build(where, cfg)
    classes = tuple(map(str, dataset.metainfo.get('classes') or ()))
    return Split(name, cfg, dataset, _kind(dataset), classes)


def class_list(cfg: Config, loader: str) -> tuple[str, ...]:
    """The classes that the first data set of a loader names, without building it; () if none."""
    leaf = next(iter(unwrapped((cfg.get(loader) or {}).get('dataset'))), None) or {}
    classes = (leaf.get('metainfo') or {}).get('classes')
    return tuple(map(str, classes)) if isinstance(classes, (list, tuple)) else ()


def own_class(kind: str | type) -> str | type:
    """The class that the toolkit builds where a config names a data set's class.

    mmdet's CocoDataset itself becomes the toolkit's, which reads the same files and more, and
    numbers the labels in the config's order; classes derived from it stay what they are.

    Args:
        kind (str | type): as the config has it, found in the current default scope.
    """
    if isinstance(kind, str):
        from mmengine.registry import DATASETS
        with DATASETS.switch_scope_and_registry(None) as registry:
            found = registry.get(kind)
    else:
        found = kind
    if getattr(found, '__module__', '') == 'mmdet.datasets.coco' and \
            found.__name__ == 'CocoDataset':
        from convnext_dense.datasets.coco_dataset import CocoDataset
        return CocoDataset
    return kind


def _build(where, cfg):
    """The data set object: classes, joined paths and label map resolved, nothing loaded."""
    from mmengine.registry import DATASETS
    _import_quietly(cfg.get('type'))
    cfg = copy.deepcopy(dict(cfg))
    cfg.update(type=own_class(cfg.get('type')), lazy_init=True, pipeline=[])
    if not is_local(cfg):
        cfg['data_root'] = None  # joining paths would ask for the other storage's package
    try:
        return DATASETS.build(cfg)
    except KeyError as error:
        raise InputError(f'{where}: no data set type {cfg.get("type")!r} '
                         f'({str(error).strip(chr(34))[:200]})') from error
    except (AssertionError, TypeError, ValueError, FileNotFoundError) as error:
        raise InputError(f'{where}: {cfg.get("type")} does not accept its arguments: '
                         f'{error or type(error).__name__}') from error


def _import_quietly(kind):
    """Import the libraries' data sets without their lines about packages nobody needs."""
    from mmengine.registry import DefaultScope
    current = DefaultScope.get_current_instance()
    scope = kind.partition('.')[0] if isinstance(kind, str) and '.' in kind else \
        current and current.scope_name
    package = {'mmdet': 'mmdet.datasets', 'mmseg': 'mmseg.datasets',
               'convnext_dense': 'mmdet.datasets'}.get(scope)
    if package:
        with redirect_stdout(io.StringIO()):
            import_module(package)


def _kind(dataset):
    """How the data set keeps its annotations, from where its loading method was written."""
    if any(kind.__name__ == 'CocoPanopticDataset' for kind in type(dataset).__mro__):
        return 'panoptic'
    module = type(dataset).load_data_list.__module__
    return {'mmdet.datasets.coco': 'coco', 'convnext_dense.datasets.coco_dataset': 'coco',
            'mmseg.datasets.basesegdataset': 'labels'}.get(module, 'other')
