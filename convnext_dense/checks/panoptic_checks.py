"""Whether a data set in COCO's panoptic format can be loaded and fits the model."""
import os
from pathlib import Path

import numpy as np

from convnext_dense.checks.sampling import evenly
from convnext_dense.datasets.panoptic_file import read_panoptic
from convnext_dense.datasets.splits import Split
from convnext_dense.errors import InputError

LOOKED_AT = 8  # PNG files that are decoded
SEGMENT = ('id', 'category_id', 'bbox', 'area')


def check_panoptic(split: Split) -> list[dict]:
    """The images of a panoptic data set, for the check of the image files.

    Raises:
        InputError: the annotation file, its classes, its segments or its PNG files cannot be used.
    """
    content = read_panoptic(split.dataset.ann_file)
    if split.classes:
        content.categories_of(split.classes, split.where)
    _check_segments(split.where, content)
    prefix = split.dataset.data_prefix
    for row in evenly(content.annotations, LOOKED_AT):
        _check_png(split.where, row, os.path.join(prefix.get('seg') or '', row['file_name']))
    return [dict(img_path=os.path.join(prefix.get('img') or '', image['file_name']),
                 width=image['width'], height=image['height']) for image in content.images]


def check_things(model: dict, split: Split) -> None:
    """Raise InputError where a head counts other things or stuff than the annotations have."""
    if not split.classes:
        return
    content = read_panoptic(split.dataset.ann_file)
    things = [bool(one['isthing'])
              for one in content.categories_of(split.classes, split.where)]
    for name in ('panoptic_head', 'panoptic_fusion_head'):
        head = model.get(name) or {}
        for key, number in (('num_things_classes', sum(things)),
                            ('num_stuff_classes', len(things) - sum(things))):
            if head.get(key, number) != number:
                raise InputError(f'model.{name}.{key} is {head[key]}, but {content.name} has '
                                 f'{number} of the classes; set it to {number}')


def _check_segments(where, content):
    known = {category['id'] for category in content.content['categories']}
    for row in content.annotations:
        for number, segment in enumerate(row['segments_info']):
            lacking = [key for key in SEGMENT if key not in segment]
            if lacking or segment['category_id'] not in known:
                problem = f'has no {lacking[0]!r}' if lacking else \
                    f'has the category_id {segment["category_id"]}, which no category has'
                raise InputError(f'{where}: {content.name}: segments_info[{number}] of '
                                 f'{row["file_name"]} {problem}; correct it')


def _check_png(where, row, path):
    import mmcv

    from convnext_dense.datasets.panoptic import segment_ids
    if not Path(path).is_file():
        raise InputError(f'{where}: the PNG file {path} of the segments is missing; correct '
                         'data_prefix.seg, or give the data set\'s folder with --data-root')
    colours = mmcv.imread(path, channel_order='rgb')
    if colours is None:
        raise InputError(f'{where}: {path} cannot be read as an image')
    missing = {segment['id'] for segment in row['segments_info']} - set(
        np.unique(segment_ids(colours)).tolist())
    if missing:
        raise InputError(f'{where}: {path} has no pixel of segment {min(missing)}, which the '
                         'annotations list; correct one of the two')

