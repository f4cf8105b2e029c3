"""Data sets as other tools write them, read into one form.

Each format is a module with ``TITLE``, ``found(files)`` (the files that speak for it) and
``read(files, options)`` (a :class:`~.source.Source`). ``FORMATS`` lists them.
"""
from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from convnext_dense.datasets.importers import (
    coco,
    colour_masks,
    cvat,
    index_masks,
    labelme,
    voc,
    yolo,
)
from convnext_dense.datasets.importers.files import SourceFiles
from convnext_dense.datasets.importers.options import Options
from convnext_dense.datasets.importers.source import Source
from convnext_dense.errors import InputError, convert_errors

FORMATS = {
    'coco': coco,
    'yolo': yolo,
    'voc': voc,
    'labelme': labelme,
    'cvat': cvat,
    'colour-masks': colour_masks,
    'index-masks': index_masks,
}


def recognise(files: SourceFiles) -> str:
    """The key in ``FORMATS`` of what a folder holds.

    Raises:
        InputError: nothing that is known, or several formats beside each other.
    """
    holds = {name: paths for name, module in FORMATS.items() if (paths := module.found(files))}
    if len(holds) > 1:
        listed = ', '.join(f'{name} ({len(paths)} files, the first '
                           f'{paths[0].relative_to(files.root)})'
                           for name, paths in holds.items())
        raise InputError(f'{files.root} holds several formats: {listed}; choose one with --format')
    if holds:
        return next(iter(holds))
    if not files.images:
        raise InputError(f'{files.root} holds no images; give the folder (or zip) that holds '
                         'images and annotations')
    raise InputError(f'{files.root} holds {len(files.images)} images, but no annotations that '
                     'are known: COCO, LabelMe, Pascal VOC, CVAT, YOLO (with data.yaml or '
                     'classes.txt) or masks in a folder named masks, labels or annotations'
                     + _unknown(files))


def _unknown(files):
    """What is wrong with the first file that could have been of annotations."""
    for path in files.having('.json', '.xml'):
        try:
            if path.suffix.lower() == '.json':
                json.loads(path.read_text(encoding='utf-8-sig'))
            else:
                ElementTree.parse(path)
        except (ValueError, RecursionError, ElementTree.ParseError) as error:
            return f'; {path.relative_to(files.root)} is damaged ({error}): export it again'
        return f'; {path.relative_to(files.root)} is none of them'
    return ''


def read_source(root: Path, format: str | None = None, options: Options = Options()) -> Source:
    """Read a folder of images and annotations in any of ``FORMATS``.

    Args:
        root: the folder.
        format: a key of ``FORMATS``; None recognises it.
        options: what the files do not say.

    Raises:
        InputError: an unknown format, or files that do not fit together.
    """
    files = SourceFiles(root)
    # a file may hold any value in any place
    with convert_errors(f'the annotations in {root} cannot be read', 'export them again'):
        chosen = format or recognise(files)
        if not FORMATS[chosen].found(files):
            raise InputError(f'{root} holds no {FORMATS[chosen].TITLE}; leave --format out to '
                             'have the format recognised')
        return FORMATS[chosen].read(files, options)
