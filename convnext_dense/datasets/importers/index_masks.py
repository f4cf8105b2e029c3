"""Index masks (the number of a class at each pixel), binary masks, and ADE20K's folders."""
from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convnext_dense.datasets.importers.colour_masks import has_colours, table_of, unmatched
from convnext_dense.datasets.importers.files import SourceFiles
from convnext_dense.datasets.importers.label_files import count_values, read_pixels
from convnext_dense.datasets.importers.options import Options
from convnext_dense.datasets.importers.pairs import find_pairs
from convnext_dense.datasets.importers.source import IGNORED, ImageRecord, Repairs, Source
from convnext_dense.errors import InputError

TITLE = 'index masks'
_LISTS = ('classes.txt', 'labels.txt', 'names.txt', 'class_names.txt')
LOSSY = ('.jpg', '.jpeg', '.webp')
MOST = 255  # classes that fit beside the ignored value


class Numbering(NamedTuple):
    """How the values of masks become class numbers.

    Attributes:
        classes: names in label order.
        numbers: ``{value: class number}``, 255 being ignored.
        binary: a value above the middle of 0 to 255 is the second class, whatever it is.
        note: what was decided, or None where the values are the class numbers.
    """
    classes: list[str]
    numbers: dict[int, int]
    binary: bool = False
    note: str | None = None


def found(files: SourceFiles) -> list[Path]:
    """The masks, where they have no colours."""
    maps = [pair[1] for pair in find_pairs(files).matched]
    return [] if has_colours(maps, bool(table_of(files, Options()))) else maps


def read(files: SourceFiles, options: Options = Options()) -> Source:
    """Match images and masks, look at all values, and number the classes.

    Raises:
        InputError: values that fit no list of classes, or too many values for classes.
    """
    pairs = find_pairs(files)
    maps = [pair[1] for pair in pairs.matched]
    counts = count_values(map(read_pixels, maps))
    table = table_of(files, Options())
    names = options.classes or names_of(files) or (tuple(table.values()) if table else None)
    lossy = any(path.suffix.lower() in LOSSY for path in maps)
    numbering = number_classes(counts, names, str(files.root), lossy, options.ignored)
    values = np.array(sorted(numbering.numbers))
    numbers = np.array([numbering.numbers[value] for value in values], np.uint8)

    def labels_of(path: Path) -> np.ndarray:
        pixels = read_pixels(path)
        if numbering.binary:
            return (pixels > 127).astype(np.uint8)
        return numbers[np.searchsorted(values, pixels)]

    images = [ImageRecord(image, name, split, label_map=label_map)
              for image, label_map, split, name in pairs.matched]
    repairs = Repairs()
    notes = [numbering.note] if numbering.note else []
    same = not numbering.binary and all(key == value for key, value in numbering.numbers.items())
    return Source('binary masks' if numbering.binary else TITLE, numbering.classes, images,
                  notes + repairs.notes() + unmatched(pairs), labels_of,
                  linkable=same and all(path.suffix.lower() == '.png' for path in maps))


def number_classes(counts: dict[int, int], names: tuple[str, ...] | None, where: str,
                   lossy: bool = False, ignored: tuple[str, ...] = ()) -> Numbering:
    """Decide what the values of masks mean.

    Args:
        counts: pixels of each value, in all masks.
        names: class names, where they are known.
        where: how messages name the source.
        lossy: the masks were stored with loss, which blurs their values.
        ignored: names whose pixels are ignored.

    >>> number_classes({0: 90, 255: 10}, None, 'masks').classes
    ['background', 'foreground']
    >>> number_classes({0: 5, 1: 9, 2: 1, 255: 3}, ('sky', 'road', 'car'), 'masks').numbers
    {0: 0, 1: 1, 2: 2, 255: 255}
    """
    values = sorted(counts)
    binary = values == [0, 255] or lossy and _two_heaps(counts)
    if binary:
        two = tuple(names or ('foreground', ))
        two = two if len(two) == 2 else ('background', *two)
        if len(two) > 2:
            raise InputError(f'{where}: binary masks (0 and 255), but {len(names or ())} class '
                             'names; give one name or two with --classes')
        return Numbering(list(two), {}, True, 'binary masks: 0 is '
                         f'{two[0]}, 255 is {two[1]} (other names: --classes)')
    if lossy:
        raise InputError(f'{where}: masks stored as JPEG or WebP hold {len(values)} values, as '
                         'such files blur the class numbers; export the masks as PNG')
    classes = [value for value in values if value not in (255, 65535)]
    if not classes:
        raise InputError(f'{where}: every pixel of every mask is {values[-1]}, which is ignored')
    if len(classes) > MOST:
        raise InputError(f'{where}: masks with {len(classes)} values ({classes[0]} to '
                         f'{classes[-1]}), more than {MOST} classes: no class numbers')
    numbers = {value: IGNORED for value in values}
    if names is None:
        numbers.update({value: number for number, value in enumerate(classes)})
        note = f'no names for the values {_short(classes)} of the masks: the classes are called ' \
               'after them (names: --classes)'
        return Numbering([f'class {value}' for value in classes], numbers, note=note)
    kept = [name for name in names if name.lower() not in ignored]
    if classes[-1] < len(names):
        numbers.update({value: kept.index(name) if name in kept else IGNORED
                        for value, name in enumerate(names) if value in counts})
        left_out = None if kept == list(names) else \
            f'{", ".join(name for name in names if name not in kept)}: ignored'
        return Numbering(kept, numbers, note=left_out)
    if classes[-1] == len(names):
        numbers.update({value: value - 1 for value in classes if value})
        return Numbering(list(names), numbers, note='the classes are 1 to '
                         f'{len(names)}, 0 is ignored')
    raise InputError(f'{where}: the masks hold the values {_short(classes)}, but there are '
                     f'{len(names)} class names; give all names in the order of the values with '
                     '--classes')


def _two_heaps(counts):
    """Whether nearly all pixels are near 0 or near 255."""
    middle = sum(count for value, count in counts.items() if 64 < value < 192)
    return middle < 0.05 * sum(counts.values()) and max(counts) > 191


def names_of(files: SourceFiles) -> tuple[str, ...] | None:
    """Names in the source: a list, Roboflow's ``_classes.csv``, ADE20K's ``objectInfo150.txt``."""
    for path in files.paths:
        if path.name.lower() in _LISTS:
            lines = [line.strip() for line in path.read_text(encoding='utf-8-sig').splitlines()]
            return tuple(line for line in lines if line)
        if path.name == '_classes.csv':
            rows = [[cell.strip() for cell in row] for row in csv.reader(path.open())]
            named = {int(row[0]): row[1] for row in rows if len(row) > 1 and row[0].isdigit()}
            return tuple(named.get(value, f'class {value}') for value in range(max(named) + 1))
        if path.name.lower().startswith('objectinfo') and path.suffix == '.txt':
            rows = [line.split('\t') for line in path.read_text().splitlines()]
            return tuple(row[-1].split(',')[0].strip() for row in rows
                         if row and row[0].strip().isdigit())
    return None


def _short(values):
    shown = ', '.join(map(str, values[:8]))
    return f'{shown}, ..., {values[-1]}' if len(values) > 8 else shown
