"""What training and evaluation need of an annotation file: classes, images to work on, masks."""
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from convnext_dense.datasets.coco_file import CocoFile
from convnext_dense.datasets.coco_masks import mask_problem, rle_size, undrawable_mask
from convnext_dense.errors import InputError


def category_labels(where: str, content: CocoFile, classes: Sequence[Any]) -> np.ndarray:
    """The label of each category: its place among the classes, whatever the file's order.

    Names are compared as texts, so that a class 1 is the category "1".

    Args:
        where: how messages name the data set.
        content: the annotation file.
        classes: names, in the order of the labels.

    Returns:
        (categories,) int64; -1 for those that are no class.

    Raises:
        InputError: a class that the file lacks, or a name that occurs twice.
    """
    names = [str(name) for name in classes]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f'{where}: the class {twice[0]!r} of the config occurs twice; give each '
                         'class its own name')
    missing = [name for name in names if name not in content.category_names]
    if missing:
        raise InputError(
            f'{where}: the classes {listed(missing)} of the config are not in {content.name}, '
            f'whose categories are {listed(content.category_names)}'
            f'{_hint(missing, content.category_names)}; set metainfo=dict(classes=...) to names '
            'of the file')
    labels = {name: label for label, name in enumerate(names)}
    return np.array([labels.get(name, -1) for name in content.category_names], np.int64)


def _hint(missing: Sequence[str], known: Sequence[str]) -> str:
    for name in missing:
        for other in known:
            if ' '.join(name.split()).casefold() == ' '.join(other.split()).casefold():
                return f' ({name!r} and {other!r} differ in case or blanks)'
    return ''


def check_same_classes(where: str, classes: Sequence[Any], other_where: str,
                       others: Sequence[Any]) -> None:
    """Raise InputError where two data sets give a label to different classes.

    One list may go on where the other ends: how many classes the model has is checked elsewhere.
    """
    mine, theirs = [str(name) for name in classes], [str(name) for name in others]
    for label, (name, other) in enumerate(zip(mine, theirs, strict=False)):
        if name != other:
            raise InputError(
                f'{where} has the classes {listed(mine, 6)}, {other_where} {listed(theirs, 6)}: '
                f'label {label} is {name!r} in one and {other!r} in the other; give both the same '
                'metainfo=dict(classes=...)')


def instances(content: CocoFile, labels: np.ndarray) -> np.ndarray:
    """Which annotations become instances of a sample: (annotations,) bool.

    They have one of the classes, an area, a box of a pixel at least that meets the image, and are
    not marked ``ignore``; crowds are among them. The same annotations as mmdet's CocoDataset keeps.
    """
    starts, sides = content.boxes[:, :2], content.boxes[:, 2:]
    sizes = content.sizes[content.images].astype(float)
    sizes[sizes == 0] = np.inf
    common = np.minimum(starts + sides, sizes) - np.maximum(starts, 0)
    return ((labels[content.categories] >= 0) & ~content.ignored & (content.areas > 0)
            & (sides >= 1).all(1) & (common > 0).all(1))


def check_images_left(where: str, content: CocoFile, classes: Sequence[Any], labels: np.ndarray,
                      filter_cfg: Mapping | None, test_mode: bool) -> None:
    """Raise InputError where no image would be left to work on.

    Args:
        where: how messages name the data set.
        content: the annotation file.
        classes: names of the config.
        labels: of :func:`category_labels`.
        filter_cfg: ``filter_empty_gt`` and ``min_size`` in pixels.
        test_mode: nothing is filtered.
    """
    if not content.image_ids:
        raise InputError(f'{where}: the annotation file {content.name} lists no image')
    if test_mode:
        return
    min_size = (filter_cfg or {}).get('min_size', 0)
    known = content.sizes.min(1) > 0
    large = ~known | (content.sizes.min(1) >= min_size)
    if not large.any():
        raise InputError(f'{where}: no image of {content.name} has min_size={min_size} pixels; '
                         'lower filter_cfg.min_size')
    usable = instances(content, labels) & ~content.crowds
    if large[content.images[usable]].any():
        return
    raise InputError(f'{where}: no image of {content.name} is left after filtering: the config '
                     f'has the classes {listed(classes)}, {_reason(content, labels)}')


def _reason(content: CocoFile, labels: np.ndarray) -> str:
    """Why no annotation can be learned from: the most frequent cause, its count, an example."""
    images = len(content.image_ids)
    if not len(content.ids):
        return f'the file has annotations of no class in {images} images'
    of_class = labels[content.categories] >= 0
    if not of_class.any():
        counts = Counter(content.category_names[place] for place in content.categories)
        have = listed([f'{name} ({count})' for name, count in counts.items()])
        return f'the file has annotations of {have} in {images} images'
    causes = {
        'are crowds (iscrowd is 1)': content.crowds,
        'are to be ignored (ignore is 1)': content.ignored,
        'have an area that is not positive': content.areas <= 0,
        'have a box of less than a pixel': (content.boxes[:, 2:] < 1).any(1)}
    counted = {cause: int((rows & of_class).sum()) for cause, rows in causes.items()}
    cause = max(counted, key=lambda name: counted[name])
    if not counted[cause]:
        return f'and the boxes of all {int(of_class.sum())} annotations lie outside of their images'
    row = int(np.flatnonzero(causes[cause] & of_class)[0])
    return (f'and {counted[cause]} of their {int(of_class.sum())} annotations {cause}, such as '
            f'{content.annotations([row])[0]!r:.160}')


def check_masks(where: str, content: CocoFile, wanted: np.ndarray, advice: str) -> None:
    """Raise InputError where annotations have no mask, or one that cannot be used.

    That a mask has another size than its image is found where the image's true size is known, and
    a mask whose drawing would exhaust the memory by :func:`check_drawable`.

    Args:
        where: how messages name what needs the masks.
        content: the annotation file, read with its masks.
        wanted: (annotations,) bool: those that need a mask.
        advice: what to do.
    """
    found: list[tuple[int, str]] = []
    for row in content.unusual_masks:
        problem = wanted[row] and mask_problem(content.mask(row), 0, 0)
        if problem:
            found.append((row, problem))
    if not found:
        return
    row, problem = found[0]
    what = 'no mask' if all(text == 'no mask' for _, text in found) else \
        'no mask that can be used'
    raise InputError(f'{where}: {len(found)} of {np.count_nonzero(wanted)} annotations in '
                     f'{content.name} have {what}, such as {describe(content, row)}: '
                     f'{problem}; {advice}')


def masks_of_other_size(content: CocoFile) -> dict[int, str]:
    """The images where an RLE has another size than the file states for the image, and which."""
    found = {}
    for row in content.unusual_masks:
        size = rle_size(content.mask(row))
        place = int(content.images[row])
        if size and content.sizes[place].all() and size != tuple(content.sizes[place][::-1]):
            found[place] = (f'{describe(content, row)} in {content.name} has a mask of '
                            f'{size[1]}x{size[0]}')
    return found


def check_drawable(where: str, content: CocoFile) -> None:
    """Raise InputError for a mask whose drawing would exhaust the memory."""
    for row in content.unusual_masks:
        width, height = content.sizes[content.images[row]].tolist()
        problem = width and undrawable_mask(content.mask(row), width, height)
        if problem:
            raise InputError(f'{where}: {describe(content, row)} in {content.name} has {problem}; '
                             'correct or remove it')


def describe(content: CocoFile, row: int) -> str:
    """How messages name an annotation."""
    place = content.images[row]
    image = content.file_names[place] or f'image {content.image_ids[place]!r}'
    return f'annotation {content.ids[row]} of {image}'


def same_order(classes: Sequence[Any], content: CocoFile) -> bool:
    """Whether the config lists its classes in the order of the file."""
    names = [str(name) for name in classes]
    return [name for name in content.category_names if name in names] == names


def listed(names: Sequence[Any], most: int = 12) -> str:
    """Names in brackets, the first ones of many."""
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return '[' + ', '.join(map(str, names[:most])) + ']' + more
