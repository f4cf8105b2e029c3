"""LabelMe JSON: one file an image with its shapes."""
from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from convnext_dense.datasets.importers.files import SourceFiles, name_in_split, split_of
from convnext_dense.datasets.importers.geometry import ellipse, extent, rle_box, rle_of
from convnext_dense.datasets.importers.source import ImageRecord, Instance, Repairs, Source
from convnext_dense.errors import InputError, convert_errors
from convnext_dense.wording import counted

if TYPE_CHECKING:
    from convnext_dense.datasets.importers.options import Options

TITLE = 'LabelMe'
MOST_PIXELS = 2**28  # of a mask; a file may state any size
NO_CLASSES = ('_background_', '__ignore__')  # labelme's own names for what is no object


def found(files: SourceFiles) -> list[Path]:
    """The JSON files with shapes of an image."""
    return [path for path in files.having('.json') if _looks_like(path)]


def _looks_like(path):
    text = path.read_bytes()
    return b'"shapes"' in text and b'"imagePath"' in text


def read(files: SourceFiles, options: Options | None = None) -> Source:
    """Read the shapes; those of one label and group are one instance, as in labelme's exporter.

    Raises:
        InputError: a file that is no JSON, a shape that is not as its type says.
    """
    repairs = Repairs()
    images: list[ImageRecord] = []
    for path in found(files):
        with convert_errors(str(path), 'save it with labelme again'):
            content = json.loads(path.read_text(encoding='utf-8-sig'))
            record = _record(files, path, content, repairs)
            if record is None:
                continue
            record.instances = _instances(path, content, record, repairs)
        images.append(record)
    notes = repairs.notes()
    unlabelled = set(files.images) - {image.path for image in images}
    if unlabelled:
        notes.append(f'{counted(len(unlabelled), "image")} without a JSON file: left out '
                     f'(the first: {min(unlabelled)})')
    classes = sorted({instance.name for image in images for instance in image.instances})
    return Source(TITLE, classes, images, notes)


def _record(files, path, content, repairs):
    size = content.get('imageWidth'), content.get('imageHeight')
    stated = (int(size[0]), int(size[1])) if all(size) else None
    split = split_of(path, files.root)
    image = files.find_image(content['imagePath'], path, split)
    if image is not None:
        return ImageRecord(image, name_in_split(image, files.root), split, stated)
    if not content.get('imageData'):
        repairs.add('label files without an image: left out', path)
        return None
    repairs.add('images that only their label file holds (imageData): taken from there', path)
    name = name_in_split(path, files.root)
    suffix = Path(content['imagePath'].replace('\\', '/')).suffix or '.jpg'
    return ImageRecord(path, name[:-len('.json')] + suffix, split, stated,
                       embedded=lambda: base64.b64decode(content['imageData']))


def _instances(path, content, record, repairs):
    groups: dict[tuple, list] = {}
    for number, shape in enumerate(content['shapes']):
        label, group = str(shape['label']).strip(), shape.get('group_id')
        if label not in NO_CLASSES:
            key = (label, number) if group is None else (label, 'group', group)
            groups.setdefault(key, []).append(shape)
    return [instance for (label, *_), shapes in groups.items()
            for instance in _instance(f'a {label} of {path}', label, shapes, record, repairs)]


def _instance(where, label, shapes, record, repairs):
    polygons, boxes, masks = [], [], []
    for shape in shapes:
        kind, points = shape.get('shape_type') or 'polygon', shape['points']
        flat = [float(value) for point in points for value in point]
        if kind == 'polygon' and len(points) >= 3:
            polygons.append(flat)
        elif kind == 'rectangle' and len(points) >= 2:
            boxes.append(extent([flat]))
        elif kind == 'circle' and len(points) == 2:
            (x, y), (x2, y2) = points
            radius = math.hypot(x2 - x, y2 - y)
            polygons.append(ellipse(x, y, radius, radius))
        elif kind == 'mask' and shape.get('mask'):
            masks.append((points, shape['mask']))
        else:
            repairs.add(f'shapes of the type {kind} ({len(points)} points), which has no area: '
                        'left out', where)
    if masks:
        if record.size is None:
            raise InputError(f'{where}: a mask in a file without imageWidth and imageHeight')
        if not 0 < math.prod(record.size) <= MOST_PIXELS:
            raise InputError(f'{where}: imageWidth and imageHeight are {record.size[0]} and '
                             f'{record.size[1]}; correct them')
        rle = rle_of(_drawn(masks, polygons, record.size))
        return [Instance(label, rle_box(rle), rle, where=where)]
    if polygons:
        return [Instance(label, extent(polygons), polygons, where=where)]
    return [Instance(label, box, where=where) for box in boxes]


def _drawn(masks, polygons, size):
    """The union of labelme's mask shapes, each an image at its box, and polygons."""
    from PIL import Image
    from pycocotools import mask as coco_mask
    width, height = size
    whole = np.zeros((height, width), bool)
    if polygons:
        whole |= coco_mask.decode(
            coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))).astype(bool)
    for ((x1, y1), _), text in masks:
        part = np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).astype(bool)
        top, left = round(y1), round(x1)
        place = whole[top:top + part.shape[0], left:left + part.shape[1]]
        place |= part[:place.shape[0], :place.shape[1]]
    return whole
