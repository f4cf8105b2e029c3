"""Images and the label maps beside them, matched by folders and names."""
from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from convnext_dense.datasets.importers.files import SourceFiles, name_in_split, split_of
from convnext_dense.errors import InputError

_MASK_FOLDER = re.compile(
    r'mask|label|annot|segm|ground.?truth|(^|[^a-z])gt([^a-z]|$)|gtfine', re.I)
_LEFT_OUT = re.compile(r'instance|SegmentationObject|depth|panoptic', re.I)
_MASK_NAME = re.compile(
    r'^(?P<before>mask[_-])?(?P<stem>.+?)(?P<after>[_-](L|mask|masks|label|labels|gt|seg|'
    r'segmentation|annotation|gtFine_labelIds|gtFine_labelTrainIds|labelIds|labelTrainIds))?$')
_IMAGE_END = re.compile(r'([_-](image|img|rgb|leftImg8bit))?$', re.I)


class Pairs(NamedTuple):
    """What was matched.

    Attributes:
        matched: (image, label map, split, name below the split).
        images: images without a label map.
        label_maps: label maps without an image.
    """
    matched: list[tuple[Path, Path, str | None, str]]
    images: list[Path]
    label_maps: list[Path]


def find_pairs(files: SourceFiles) -> Pairs:
    """Match images and label maps.

    A label map lies in a folder whose name speaks of masks, labels or annotations, or its own
    name does (``x_mask.png``, ``x_L.png``).

    Raises:
        InputError: an image with two label maps, or a label map that fits two images.
    """
    maps: dict[str, list[Path]] = {}
    images: list[Path] = []
    for path in files.images:
        folders = path.relative_to(files.root).parts[:-1]
        if any(_LEFT_OUT.search(folder) for folder in folders) or \
                re.search(r'(instanceIds|_color)$', path.stem):
            continue
        name = _MASK_NAME.match(path.stem)
        in_folder = any(_MASK_FOLDER.search(folder) for folder in folders)
        if in_folder or name and (name['before'] or name['after']):
            stems = {path.stem.lower(), name['stem'].lower()} if name else {path.stem.lower()}
            for stem in stems:
                maps.setdefault(stem, []).append(path)
        else:
            images.append(path)
    matched: list[tuple[Path, Path, str | None, str]] = []
    alone: list[Path] = []
    used: dict[Path, Path] = {}
    for image in images:
        split = split_of(image, files.root)
        stem, short = image.stem.lower(), _IMAGE_END.sub('', image.stem).lower()
        fitting = [path for path in maps.get(short) or maps.get(stem) or ()
                   if split_of(path, files.root) == split]
        fitting = [path for path in fitting
                   if _place(path, files) == _place(image, files)] or fitting
        if len(fitting) > 1:
            raise InputError(f'{image} has two label maps, {fitting[0]} and {fitting[1]}; '
                             'leave one')
        if not fitting:
            alone.append(image)
            continue
        if fitting[0] in used:
            raise InputError(f'{fitting[0]} fits two images, {used[fitting[0]]} and {image}: two '
                             'images of one name; rename one')
        used[fitting[0]] = image
        matched.append((image, fitting[0], split, name_in_split(image, files.root)))
    lone = sorted({path for paths in maps.values() for path in paths} - set(used))
    return Pairs(matched, alone, lone)


def _place(path, files):
    """The folders of a file without those that name its split or kind."""
    parts = name_in_split(path, files.root).split('/')[:-1]
    return [part for part in parts if not _MASK_FOLDER.search(part)]
