"""Colour masks: each class a colour, named by a table (class_dict.csv, label_colors.txt, ...)."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from convnext_dense.datasets.importers.files import SourceFiles
from convnext_dense.datasets.importers.label_files import (
    count_values,
    packed,
    read_pixels,
    unpacked,
)
from convnext_dense.datasets.importers.options import Options, read_table
from convnext_dense.datasets.importers.pairs import Pairs, find_pairs
from convnext_dense.datasets.importers.source import IGNORED, ImageRecord, Repairs, Source
from convnext_dense.errors import InputError
from convnext_dense.wording import counted

TITLE = 'colour masks'
_TABLES = ('class_dict.csv', 'label_colors.txt', 'label_colours.txt', 'labelmap.txt',
           'colors.txt', 'colours.txt', 'colormap.txt', 'colors.csv', 'colours.csv')
STRAY = 0.001  # share of pixels of colours outside the table that is put down to blurred edges
LOOKED_AT = 12  # masks that say whether there are colours


def found(files: SourceFiles) -> list[Path]:
    """The masks, where they have colours."""
    maps = [pair[1] for pair in find_pairs(files).matched]
    table = table_of(files, Options())
    return maps if has_colours(maps, bool(table)) else []


def has_colours(maps: list[Path], with_table: bool) -> bool:
    """Whether some of the masks looked at are colour images (or have a palette beside a table)."""
    for path in maps[::max(len(maps) // LOOKED_AT, 1)]:
        pixels = read_pixels(path, with_palette=with_table)
        if pixels.ndim == 3:
            return True
    return False


def table_of(files: SourceFiles, options: Options) -> dict:
    """``{(r, g, b): name}`` of the options, or of a table in the source, or nothing."""
    if options.colours:
        return options.colours
    for path in files.paths:
        if path.name.lower() in _TABLES:
            try:
                return read_table(path)
            except InputError:  # a list of names without colours
                continue
    return {}


def as_colours(path: Path) -> np.ndarray:
    """The packed colours (H, W) of a mask; a grey g is the colour (g, g, g)."""
    pixels = read_pixels(path, with_palette=True)
    return packed(np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels)


def read(files: SourceFiles, options: Options = Options()) -> Source:
    """Match images and masks and give each colour its class number, in the order of the table.

    Raises:
        InputError: no table (the message lists the colours), or colours that it does not hold.
    """
    pairs = find_pairs(files)
    repairs = Repairs()
    table = table_of(files, options)
    counts = count_values(as_colours(pair[1]) for pair in pairs.matched)
    shown = [(unpacked(value), count / counts.total()) for value, count in counts.most_common()]
    if not table:
        names = ' '.join(f"'NAME={r},{g},{b}'" for (r, g, b), _ in shown[:24])
        raise InputError(
            f'{files.root}: masks of {len(shown)} colours without a table of colours; name them '
            f'with --colours {names}{" ..." if len(shown) > 24 else ""} (most frequent first, '
            f'{shown[0][1]:.1%} of the pixels; the name "ignore" leaves pixels out)')
    strange = [(colour, share) for colour, share in shown if colour not in table]
    if sum(share for _, share in strange) > STRAY:
        raise InputError(
            f'{files.root}: {sum(share for _, share in strange):.1%} of the masks\' pixels have '
            f'colours that the table of colours does not name, such as '
            f'{", ".join(str(colour) for colour, _ in strange[:6])}; add them with --colours')
    for colour, _ in strange:
        repairs.add('colours outside the table, on less than a pixel in a thousand: ignored',
                    colour)
    classes = [name for name in dict.fromkeys(table.values())
               if name.lower() not in options.ignored]
    for name in dict.fromkeys(table.values()):
        if name not in classes:
            repairs.add('classes that the table calls void or ignored: left out of training', name)
    numbers = {(r << 16) + (g << 8) + b: classes.index(name) if name in classes else IGNORED
               for (r, g, b), name in table.items()}
    keys = np.array(sorted(numbers))
    values = np.array([numbers[key] for key in keys], np.uint8)

    def labels_of(path: Path) -> np.ndarray:
        pixels = as_colours(path)
        places = np.searchsorted(keys, pixels).clip(max=len(keys) - 1)
        return np.where(keys[places] == pixels, values[places], IGNORED).astype(np.uint8)

    images = [ImageRecord(image, name, split, label_map=label_map)
              for image, label_map, split, name in pairs.matched]
    return Source(TITLE, classes, images, repairs.notes() + unmatched(pairs), labels_of)


def unmatched(pairs: Pairs) -> list[str]:
    """What was left out because its partner is missing, as notes."""
    notes = []
    if pairs.images:
        notes.append(f'{counted(len(pairs.images), "image")} without a label map: left out '
                     f'(the first: {pairs.images[0]})')
    if pairs.label_maps:
        notes.append(f'{counted(len(pairs.label_maps), "label map")} without an image: left '
                     f'out (the first: {pairs.label_maps[0]})')
    return notes
