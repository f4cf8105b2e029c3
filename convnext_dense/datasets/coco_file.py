"""COCO annotation files: reading one, and whether a config's classes and images are in it."""
import json
import mmap
import os

from convnext_dense.checks.instance_checks import undrawable_mask
from convnext_dense.errors import InputError

LARGE = 24_000_000  # bytes, a little more than COCO val: parsing it takes a second
SAMPLE = 64  # images of a large file whose existence is checked


def read_annotations(where, path):
    """A COCO annotation file as a dict with images, annotations and categories.

    Raises:
        InputError: it is missing, no JSON, or no COCO file.
    """
    if not os.path.isfile(path):
        raise InputError(f'{where}: the annotation file {path} does not exist; correct ann_file, '
                         'or give the data set\'s folder with --data-root')
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except (ValueError, RecursionError) as error:
        raise InputError(f'{where}: the annotation file {path} is no JSON: {error}') from error
    missing = [key for key in ('images', 'categories')
               if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise InputError(f'{where}: {path} is no COCO annotation file: it has no list '
                         f'{" and no list ".join(repr(key) for key in missing)}')
    content.setdefault('annotations', [])
    return content


def read_outline(where, path):
    """Like :func:`read_annotations`, of a large file only what is quickly found.

    Returns:
        tuple: (content, whole): of a large file, ``content`` has the categories and the first
        images, no annotations, and ``whole`` is False.
    """
    if not os.path.isfile(path) or os.path.getsize(path) < LARGE:
        return read_annotations(where, path), True
    with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        categories = _list_at(text, text.rfind(b'"categories"'))
        images = _list_at(text, text.find(b'"images"'), SAMPLE)
    if not categories or not images or not all('file_name' in image for image in images):
        return read_annotations(where, path), True
    return dict(images=images, annotations=[], categories=categories), False


def _list_at(text, start, most=None):
    """The JSON list of objects that begins behind ``start``, or None."""
    start = text.find(b'[', start) + 1 if start >= 0 else 0
    if not start:
        return None
    piece = text[start:start + (1 << 20)].decode('utf-8', errors='replace')
    decoder, found, at = json.JSONDecoder(), [], 0
    while most is None or len(found) < most:
        at += len(piece[at:]) - len(piece[at:].lstrip(' \t\r\n,'))
        if piece[at:at + 1] == ']':
            return found
        try:
            entry, at = decoder.raw_decode(piece, at)
        except ValueError:
            return None
        found.append(entry)
    return found


def check_classes(where, path, classes, categories):
    """Raise InputError for classes of the config that the annotation file does not have."""
    names = [category.get('name') for category in categories]
    missing = [name for name in classes if name not in names]
    if missing:
        raise InputError(
            f'{where}: the classes {_names(missing)} of the config are not in {path}, whose '
            f'categories are {_names(names)}; set metainfo=dict(classes=...) to names of the file')


def check_images_left(where, path, classes, content, filter_cfg, test_mode):
    """Raise InputError where mmdet's filter would leave no image to work on.

    Args:
        where (str): how messages name the data set.
        path (str): the annotation file.
        classes (Sequence[str]): classes of the config.
        content (dict): the annotation file.
        filter_cfg (dict | None): ``filter_empty_gt`` and ``min_size`` in pixels.
        test_mode (bool): nothing is filtered.
    """
    if not content['images']:
        raise InputError(f'{where}: the annotation file {path} lists no image')
    if test_mode:
        return
    filter_cfg = filter_cfg or {}
    wanted = {category['id'] for category in content['categories']
              if category.get('name') in classes}
    annotated = {annotation.get('image_id') for annotation in content['annotations']
                 if annotation.get('category_id') in wanted and usable(annotation)}
    min_size = filter_cfg.get('min_size', 0)
    large = {image['id'] for image in content['images']
             if min(image.get('width', 0), image.get('height', 0)) >= min_size}
    if not large:
        raise InputError(f'{where}: no image of {path} has min_size={min_size} pixels; lower '
                         'filter_cfg.min_size')
    if not annotated & large:
        counts = {}
        for annotation in content['annotations']:
            key = annotation.get('category_id')
            counts[key] = counts.get(key, 0) + 1
        names = {category['id']: category.get('name') for category in content['categories']}
        have = _names([f'{names.get(key, key)} ({count})' for key, count in counts.items()])
        raise InputError(
            f'{where}: no image of {path} is left after filtering: the config has the classes '
            f'{_names(classes)}, the file has annotations of {have if counts else "no class"} in '
            f'{len(content["images"])} images')


def check_masks(where, path, content):
    """Raise InputError where an evaluation could not draw a mask, see ``undrawable_mask``."""
    sizes = {image['id']: (image.get('width', 0), image.get('height', 0), image.get('file_name'))
             for image in content['images']}
    for annotation in content['annotations']:
        width, height, name = sizes.get(annotation.get('image_id'), (0, 0, None))
        problem = name and undrawable_mask(annotation.get('segmentation'), width, height)
        if problem:
            raise InputError(f'{where}: annotation {annotation.get("id")} of {name} in {path} has '
                             f'{problem}; correct or remove it')


def usable(annotation):
    """Whether training can learn from an annotation: mmdet skips the others."""
    box = annotation.get('bbox') or ()
    return (len(box) == 4 and box[2] >= 1 and box[3] >= 1 and annotation.get('area', 0) > 0
            and not annotation.get('ignore') and not annotation.get('iscrowd'))


def same_order(classes, categories):
    """Whether the config lists its classes in the order of the file.

    mmdet numbers the labels in the order of the file, whatever the order in the config: another
    order swaps names in tables and images.
    """
    return [category.get('name') for category in categories
            if category.get('name') in classes] == list(classes)


def _names(names, most=12):
    names = [str(name) for name in names]
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return '[' + ', '.join(names[:most]) + ']' + more
