"""Building a data set with its annotations looked at as they are read."""
import logging
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from convnext_dense.datasets.splits import own_class
from convnext_dense.errors import convert_errors
from convnext_dense.runtime.bad_image_list import BadImageList
from convnext_dense.runtime.bad_images import drop_undrawable_masks, look_at_boxes
from convnext_dense.runtime.shared_annotations import read_once
from convnext_dense.storage import with_whole_paths

_LAZY = (BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset)


def build_dataset(config: dict, bad_images: BadImageList) -> BaseDataset:
    """Build a data set and read its annotations; bad ones are written down.

    Args:
        config (dict): of the data set; data sets inside it are treated alike.
        bad_images (BadImageList): of bad images and annotations.

    Raises:
        InputError: the annotation file cannot be used.
    """
    config, lazy = _make_lazy(with_whole_paths(config))
    dataset = DATASETS.build(config)
    if lazy:
        parts = list(leaves(dataset))
        names = ', '.join(str(leaf.ann_file or leaf.data_prefix) for leaf in parts)
        with convert_errors(f'the annotations {names} cannot be used',
                   'look at the file and at the data settings of the config'):
            for leaf in parts:
                read_once(leaf, partial(_read, leaf, bad_images))
            dataset.full_init()
    return dataset


def _read(dataset, bad_images):
    """Read a data set's samples, looking at each."""
    dataset.parse_data_info = partial(_parse, dataset, dataset.parse_data_info, bad_images)
    dataset._without_target = [0, 0]
    dataset.full_init()
    del dataset.parse_data_info
    _report_empty(dataset, *vars(dataset).pop('_without_target'))


def _make_lazy(config):
    """The config with ``lazy_init`` where the class is known to understand it."""
    kind = own_class(config.get('type'))
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(None) as registry:  # of the default scope
            kind = registry.get(kind)
    else:
        config = dict(config, type=kind)
    if not isinstance(kind, type) or not issubclass(kind, _LAZY) or config.get('lazy_init'):
        return config, False
    config = dict(config, lazy_init=True)
    if isinstance(config.get('dataset'), dict):
        config['dataset'] = _make_lazy(config['dataset'])[0]
    if isinstance(config.get('datasets'), (list, tuple)):
        config['datasets'] = [_make_lazy(child)[0] if isinstance(child, dict) else child
                              for child in config['datasets']]
    return config, True


def leaves(dataset: Any) -> Iterator[BaseDataset]:
    """mmengine's data sets inside a data set's wrappers, such as RepeatDataset."""
    if isinstance(dataset, BaseDataset):
        yield dataset
    for child in [getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', ())]:
        if child is not None:
            yield from leaves(child)


def _parse(dataset, parse, bad_images, raw):
    """``parse_data_info`` with a look at the boxes and masks of COCO annotations first."""
    if not isinstance(raw, dict) or 'raw_img_info' not in raw:
        return parse(raw)
    dataset._without_target[0] += 1
    dataset._without_target[1] += not raw['raw_ann_info']
    name = raw['raw_img_info'].get('file_name')
    with convert_errors(f'{dataset.ann_file}: the annotations of {name} cannot be used',
                        'expected bbox=[x, y, width, height], area and category_id, as COCO '
                        'has them'):
        problems = drop_undrawable_masks(raw) + list(look_at_boxes(raw))
        for problem in problems:
            if is_main_process() or bad_images.strict:
                bad_images.add(_image(dataset, raw), problem, used=True)
        info = parse(raw)
        if problems and isinstance(info, dict) and not info.get('instances'):
            info['without_target'] = True
        return info


def _image(dataset, raw):
    return os.path.join(dataset.data_prefix.get('img') or '', raw['raw_img_info']['file_name'])


def _report_empty(dataset, images, empty):
    if not empty or dataset.test_mode:
        return
    fate = 'left out (filter_empty_gt)' if (getattr(dataset, 'filter_cfg', None) or {}).get(
        'filter_empty_gt') else 'trained on as background'
    print_log(f'{empty} of {images} images of {dataset.ann_file} have no annotation and are '
              f'{fate}', 'current', logging.INFO)
