"""CVAT for images 1.1: one XML file with the shapes of all images."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from convnext_dense.datasets.importers.files import (
    SourceFiles,
    name_in_split,
    split_name,
    split_of,
)
from convnext_dense.datasets.importers.geometry import ellipse, extent, rle_box, rle_of, turned_box
from convnext_dense.datasets.importers.source import ImageRecord, Instance, Repairs, Source
from convnext_dense.datasets.importers.voc import parse, xml_root
from convnext_dense.errors import InputError, convert_errors
from convnext_dense.wording import counted

if TYPE_CHECKING:
    from convnext_dense.datasets.importers.options import Options

TITLE = 'CVAT'


def found(files: SourceFiles) -> list[Path]:
    """The XML files whose root is ``annotations``."""
    return [path for path in files.having('.xml') if xml_root(path) == 'annotations']


def read(files: SourceFiles, options: Options | None = None) -> Source:
    """Read boxes, polygons, ellipses and masks; polygons of one group and label are one instance.

    Raises:
        InputError: no XML, tracks of "CVAT for video", shapes that are not as documented.
    """
    repairs = Repairs()
    images: list[ImageRecord] = []
    classes: list[str] = []
    for path in found(files):
        root = parse(path)
        if root.find('track') is not None:
            raise InputError(f'{path} is "CVAT for video"; export "CVAT for images" or COCO, which '
                             'have the frames')
        names = [(label.findtext('name') or '').strip() for label in root.iterfind('meta//label')
                 if label.findtext('type') not in ('points', 'polyline', 'tag', 'skeleton')]
        for entry in root.iterfind('image'):
            with convert_errors(f'image {entry.get("name")} of {path}', 'export it again'):
                record = _record(files, path, entry, repairs)
                if record:
                    images.append(record)
                    names += [instance.name for instance in record.instances]
        classes += [name for name in dict.fromkeys(names) if name not in classes]
    notes = repairs.notes()
    unlisted = set(files.images) - {image.path for image in images}
    if unlisted:
        notes.append(f'{counted(len(unlisted), "image")} that the XML file does not list: left out')
    return Source(TITLE, classes, images, notes)


def _record(files, path, entry, repairs):
    name, subset = entry.get('name'), entry.get('subset')
    split = split_name(subset or '') or split_of(path, files.root)
    image = files.find_image(name, path, split)
    if image is None:
        repairs.add('images that the XML file lists and that are not there: left out', name)
        return None
    size = int(entry.get('width')), int(entry.get('height'))
    split = split or split_of(image, files.root)
    record = ImageRecord(image, name_in_split(image, files.root), split, size)
    groups: dict[tuple, list] = {}
    for number, shape in enumerate(entry):
        if shape.tag == 'tag':
            continue
        group = int(shape.get('group_id') or 0)
        key = (shape.get('label'), number) if not group or shape.tag != 'polygon' else \
            (shape.get('label'), 'group', group)
        groups.setdefault(key, []).append(shape)
    for (label, *_), shapes in groups.items():
        where = f'a {label} in {name} of {path}'
        if shapes[0].tag == 'polygon':
            polygons = [_points(shape) for shape in shapes]
            record.instances.append(Instance(label, extent(polygons), polygons, where=where))
        else:
            record.instances += _instance(label, shapes[0], size, where, repairs)
    return record


def _points(shape):
    return [float(value) for pair in shape.get('points').split(';') for value in pair.split(',')]


def _instance(label, shape, size, where, repairs):
    number = {key: float(value) for key, value in shape.items()
              if key in ('xtl', 'ytl', 'xbr', 'ybr', 'rotation', 'cx', 'cy', 'rx', 'ry')}
    if shape.tag == 'box':
        x1, y1, x2, y2 = (number[key] for key in ('xtl', 'ytl', 'xbr', 'ybr'))
        box = x1, y1, x2 - x1, y2 - y1
        if number.get('rotation'):
            repairs.add('turned boxes: the upright box around each', where)
            box = extent([turned_box(x1, y1, x2, y2, number['rotation'])])
        return [Instance(label, box, where=where)]
    if shape.tag == 'ellipse':
        polygon = ellipse(number['cx'], number['cy'], number['rx'], number['ry'],
                          number.get('rotation', 0.))
        return [Instance(label, extent([polygon]), [polygon], where=where)]
    if shape.tag == 'mask':
        left, top, width, height = (int(shape.get(key))
                                    for key in ('left', 'top', 'width', 'height'))
        runs = [int(run) for run in shape.get('rle').split(',')]
        part = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width)
        whole = np.zeros(size[::-1], bool)
        whole[top:top + height, left:left + width] = part
        rle = rle_of(whole)
        return [Instance(label, rle_box(rle), rle, where=where)]
    repairs.add(f'shapes of the type {shape.tag}, which has no area: left out', where)
    return []
