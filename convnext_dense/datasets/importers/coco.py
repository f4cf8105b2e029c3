"""COCO JSON: of COCO itself, CVAT, Label Studio, Roboflow, labelme2coco and supervision."""
from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from convnext_dense.datasets.coco_masks import is_box
from convnext_dense.datasets.importers.files import SourceFiles, name_in_split, split_of_list
from convnext_dense.datasets.importers.geometry import extent
from convnext_dense.datasets.importers.source import ImageRecord, Instance, Repairs, Source
from convnext_dense.errors import InputError
from convnext_dense.wording import counted

if TYPE_CHECKING:
    from convnext_dense.datasets.importers.options import Options

TITLE = 'COCO'


def found(files: SourceFiles) -> list[Path]:
    """The annotation files: objects with lists of images, annotations and categories."""
    return [path for path in files.having('.json') if _looks_like(path)]


def _looks_like(path: Path) -> bool:
    text = path.read_bytes()
    return all(key in text for key in (b'"images"', b'"annotations"', b'"categories"'))


def read(files: SourceFiles, options: Options | None = None) -> Source:
    """Read every annotation file of the source; see :mod:`..importers`.

    Raises:
        InputError: no COCO file, images or categories that do not fit together.
    """
    repairs = Repairs()
    images: list[ImageRecord] = []
    names: dict[str | None, tuple[Path, list[str]]] = {}
    for path in found(files):
        split = split_of_list(path, files.root)
        content = _content(path)
        categories = _categories(path, content, repairs)
        if split in names:
            raise InputError(f'{path} and {names[split][0]} are both annotation files of '
                             f'{split or "no split"}; leave one of them')
        names[split] = path, list(dict.fromkeys(categories.values()))
        images += _images(path, split, content, categories, files, repairs)
    classes = _same_classes(names, images, repairs)
    unlisted = len(set(files.images) - {image.path for image in images})
    notes = repairs.notes()
    if unlisted:
        notes.append(f'{counted(unlisted, "image")} that no annotation file lists: left out')
    return Source(TITLE, classes, images, notes)


def _content(path):
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path} is no JSON: {error}; export it again') from error
    for key in ('images', 'annotations', 'categories'):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise InputError(f'{path} is no COCO annotation file: {key!r} is no list of objects')
    return content


def _categories(path, content, repairs):
    """{category id: class name}, without root categories that nothing is annotated with."""
    used = Counter(str(annotation.get('category_id')) for annotation in content['annotations'])
    parents = {category.get('supercategory') for category in content['categories']}
    names: dict[str, str] = {}
    for category in content['categories']:
        key, name = str(category.get('id')), str(category.get('name', '')).strip()
        if not name:
            raise InputError(f'{path}: category {key} has no name; give it one')
        if key in names:
            raise InputError(f'{path}: the categories {names[key]!r} and {name!r} have one id, '
                             f'{key}; correct them')
        names[key] = name
    for category in content['categories']:
        key, name = str(category['id']), names[str(category['id'])]
        others = [other for other, value in names.items() if value == name and other != key]
        if not used[key] and (others or name in parents and len(names) > 1):
            repairs.add('categories without annotations that head or double others: left out',
                        f'{name!r} of {path.name}')
            del names[key]
        elif used[key] and any(used[other] for other in others):
            raise InputError(f'{path}: two categories have the name {name!r} (ids {key} and '
                             f'{others[0]}), both with annotations; rename or merge one')
    return names


def _images(path, split, content, categories, files, repairs):
    by_id: dict[str, ImageRecord] = {}
    for entry in content['images']:
        key, name = str(entry.get('id')), entry.get('file_name')
        if not isinstance(name, str) or not name:
            raise InputError(f'{path}: image {key} has no file_name; give it one')
        if key in by_id:
            raise InputError(f'{path}: {by_id[key].path.name} and {name} have one id, {key}; '
                             'number the images anew')
        image = files.find_image(name, path, split)
        if image is None:
            repairs.add('images that an annotation file lists and that are not there: left out',
                        f'{name} of {path.name}')
            continue
        size = entry.get('width'), entry.get('height')
        by_id[key] = ImageRecord(image, name_in_split(image, files.root), split,
                                 (int(size[0]), int(size[1])) if all(size) else None)
    listed = {str(entry.get('id')) for entry in content['images']}
    for annotation in content['annotations']:
        key, where = str(annotation.get('image_id')), f'annotation {annotation.get("id")} of {path}'
        if key not in listed:
            repairs.add('annotations of images that are not listed: left out', where)
        elif str(annotation.get('category_id')) not in categories:
            raise InputError(f'{where} has category_id {annotation.get("category_id")!r}, which '
                             f'is none of the categories {list(categories)[:8]}; correct it')
        elif key in by_id:
            name = categories[str(annotation['category_id'])]
            by_id[key].instances += _instance(annotation, name, where, repairs)
    return list(by_id.values())


def _instance(annotation, name, where, repairs):
    mask = annotation.get('segmentation') or None
    if isinstance(mask, list):
        whole = [polygon for polygon in mask if isinstance(polygon, list) and
                 len(polygon) >= 6 and len(polygon) % 2 == 0]
        if len(whole) < len(mask):
            repairs.add('polygons of less than three points: left out', where)
        mask = whole or None
    box = annotation.get('bbox')
    if box is None and isinstance(mask, list):
        box = extent(mask)
    if not is_box(box):
        raise InputError(f'{where}: bbox is {box!r:.60}, not four finite numbers [x, y, width, '
                         'height]; correct or remove it')
    area = annotation.get('area')
    return [Instance(name, tuple(box), mask, bool(annotation.get('iscrowd')),
                     float(area) if isinstance(area, (int, float)) and area > 0 else None, where)]


def _same_classes(names, images, repairs):
    """The classes in the order of the training file; InputError where splits contradict."""
    first = 'train' if 'train' in names else next(iter(names))
    path, classes = names[first]
    for split, (other, theirs) in names.items():
        used = {instance.name for image in images if image.split == split
                for instance in image.instances}
        strange = [name for name in theirs if name not in classes and name in used]
        if strange:
            raise InputError(f'{other} has annotations of {strange[:5]}, which are no categories '
                             f'of {path}: {classes[:8]}; use one list of class names in all splits')
        if theirs != classes:
            repairs.add('annotation files that list the classes in another way: their annotations '
                        'follow the names', f'{other.name} beside {path.name}')
    return classes
