"""Writing what was read in the toolkit's two layouts, images as links."""
from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path, PurePosixPath

from convnext_dense.datasets.importers.geometry import area_of
from convnext_dense.datasets.importers.source import SPLITS, ImageRecord, Source

#: folders of label-map data sets, as ADE20K has them
FOLDERS = {'train': 'training', 'val': 'validation', 'test': 'test'}


def write_data(source: Source, root: Path, copy: bool = False) -> dict:
    """Write a source below ``root``.

    Instances: ``{train,val,test}/*`` and ``annotations/{train,val,test}.json`` like COCO. Label
    maps: ``images/{training,validation,test}/*`` and ``annotations/.../*.png`` like ADE20K.

    Args:
        source: checked, with a split for every image.
        root: the folder; it is made.
        copy: copy the images in place of linking to them.

    Returns:
        What a config needs to know: ``img_suffix`` of label-map data sets.
    """
    if source.labels_of:
        return _write_label_maps(source, root, copy)
    for split in SPLITS:
        images = [image for image in source.images if image.split == split]
        if images:
            _write_coco(source, split, images, root, copy)
    return {}


def _write_coco(source, split, images, root, copy):
    numbers = {name: number for number, name in enumerate(source.classes, 1)}
    content: dict[str, list] = dict(images=[], annotations=[], categories=[
        dict(id=number, name=name) for name, number in numbers.items()])
    for image_id, image in enumerate(sorted(images, key=lambda image: image.name), 1):
        place(image, root / split / image.name, copy)
        width, height = image.size
        content['images'].append(dict(id=image_id, file_name=image.name, width=width,
                                      height=height))
        for instance in image.instances:
            entry = dict(
                id=len(content['annotations']) + 1, image_id=image_id,
                category_id=numbers[instance.name], bbox=list(instance.box),
                area=instance.area or area_of(instance.mask, instance.box, width, height),
                iscrowd=int(instance.crowd))
            if source.task == 'masks':
                entry['segmentation'] = instance.mask
            content['annotations'].append(entry)
    path = root / 'annotations' / f'{split}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8')


def _write_label_maps(source, root, copy):
    from PIL import Image
    suffixes = Counter(PurePosixPath(image.name).suffix for image in source.images)
    suffix = suffixes.most_common(1)[0][0]
    for image in source.images:
        folder, stem = FOLDERS[image.split], str(PurePosixPath(image.name).with_suffix(''))
        place(image, root / 'images' / folder / (stem + suffix), copy)
        target = root / 'annotations' / folder / f'{stem}.png'
        if source.linkable:
            place(ImageRecord(image.label_map, ''), target, copy)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(source.labels_of(image.label_map)).save(target)
    return dict(img_suffix=suffix)


def place(image: ImageRecord, target: Path, copy: bool) -> None:
    """Put an image at ``target``: a link to where it is, a copy, or its embedded bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if image.embedded:
        target.write_bytes(image.embedded())
    elif copy:
        shutil.copyfile(image.path, target)
    else:
        os.symlink(image.path.resolve(), target)
