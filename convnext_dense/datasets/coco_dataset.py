"""mmdet's CocoDataset on the toolkit's own reader of annotation files."""
import os
from typing import Any

import numpy as np
from mmdet.datasets import CocoDataset as MMDetCocoDataset
from mmengine.fileio import get_local_path
from mmengine.logging import print_log

from convnext_dense.datasets.coco_file import CocoFile, read_coco
from convnext_dense.datasets.coco_requirements import (
    category_labels,
    check_images_left,
    check_masks,
    instances,
    listed,
)
from convnext_dense.datasets.image_size import image_sizes
from convnext_dense.errors import InputError
from convnext_dense.registry import DATASETS

MASKS_MISSING = ('use a config for boxes alone (no mask head, with_mask=False in the pipelines), '
                 'or leave these annotations out')


@DATASETS.register_module()
class CocoDataset(MMDetCocoDataset):
    """Images and instances of a COCO annotation file; the arguments are mmdet's.

    It differs from mmdet's in what it accepts and refuses: labels follow the order of
    ``metainfo['classes']``, not that of the file's categories; missing areas, sizes and flags are
    computed (see :mod:`convnext_dense.datasets.coco_file`); ids may be texts; a file that cannot
    be used is refused with one line before any work.

    Raises:
        InputError: the annotation file cannot be used.
    """

    def __init__(self, *args: Any, metainfo: dict | None = None, **kwargs: Any) -> None:
        classes = (metainfo or {}).get('classes')
        if isinstance(classes, (list, tuple)):
            metainfo = dict(metainfo or {}, classes=tuple(map(str, classes)))
        super().__init__(*args, metainfo=metainfo, **kwargs)

    def load_data_list(self) -> list[dict]:
        """The samples, one an image, in the file's order."""
        with get_local_path(self.ann_file, backend_args=self.backend_args) as path:
            content = read_coco(str(path), type(self).__name__, self.ann_file)
        content.refuse(type(self).__name__)
        complete_sizes(content, self.data_prefix.get('img') or '')
        labels = self._check(content)
        self.cat2label = {category: label for category, label in zip(
            content.category_ids, labels.tolist(), strict=True) if label >= 0}
        self.cat_ids = sorted(self.cat2label, key=lambda category: self.cat2label[category])
        rows = content.by_image()
        annotations = content.annotations()
        self.cat_img_map: dict[Any, list] = {category: [] for category in content.category_ids}
        for annotation in annotations:
            self.cat_img_map[annotation['category_id']].append(annotation['image_id'])
        samples = []
        for place, image_id in enumerate(content.image_ids):
            image = content.image(place)
            samples.append(self.parse_data_info(dict(
                raw_img_info=dict(image, img_id=image_id),
                raw_ann_info=[annotations[row] for row in rows[place].tolist()])))
        return samples

    def _check(self, content: CocoFile) -> np.ndarray:
        where, classes = type(self).__name__, self.metainfo['classes']
        labels = category_labels(where, content, classes)
        check_images_left(where, content, classes, labels, self.filter_cfg, self.test_mode)
        if any(getattr(step, 'with_mask', False) for step in self.pipeline.transforms):
            check_masks(f'{where}: the pipeline loads masks', content,
                        instances(content, labels), MASKS_MISSING)
        problems = content.problems
        for kind in ('unknown-image-id', 'unknown-category-id'):
            if problems.counts[kind]:
                print_log(f'{content.name}: {problems.counts[kind]} annotations have an '
                          f'{kind.replace("-", " ")} and are ignored, such as '
                          f'{listed(problems.examples[kind], 1)}', 'current', 30)
        return labels


def complete_sizes(content: CocoFile, folder: str) -> None:
    """Take the sizes that the file does not state from the images.

    Args:
        content: changed in place.
        folder: of the images.

    Raises:
        InputError: such an image cannot be read.
    """
    for place in np.flatnonzero(content.sizes.min(1) == 0):
        name = content.file_names[place]
        try:
            content.sizes[place] = image_sizes(os.path.join(folder, name or ''))[1]
        except InputError as error:
            raise InputError(f'{content.name}: image {content.image_ids[place]!r} states no width '
                             f'and height, and {name} in {folder or "."} cannot be read; write '
                             'them into the annotation file') from error
