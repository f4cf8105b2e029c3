"""Checks of one image with its annotations or label map: the work of the processes of a check.

Light to import: no torch, no OpenMMLab.
"""
import hashlib
import warnings
from typing import NamedTuple

import numpy as np

from convnext_dense.checks.findings import Finding
from convnext_dense.checks.instance_checks import check_instance
from convnext_dense.checks.similar import thumbnail
from convnext_dense.datasets.labels import allowed_values, read_label_map
from convnext_dense.errors import InputError

ORIENTATION = 0x0112  # the EXIF tag
SWAPPED = (5, 6, 7, 8)  # its values that swap width and height


class ImageTask(NamedTuple):
    """One image to check.

    Attributes:
        path (str): the image.
        size (tuple | None): stated (width, height) in pixels.
        annotations (tuple[dict]): COCO annotations.
        with_mask (bool): whether the pipeline loads masks.
        label_map (str | None): path of the label map.
        labels (tuple | None): (number of labels, ignore_index, reduce_zero_label).
    """
    path: str
    size: tuple | None = None
    annotations: tuple = ()
    with_mask: bool = False
    label_map: str | None = None
    labels: tuple | None = None


class ImageResult(NamedTuple):
    """What was found.

    Attributes:
        path (str): the image.
        content (str | None): hash of the pixels; None where it cannot be read.
        thumbnail (bytes | None): see :func:`convnext_dense.checks.similar.thumbnail`.
        size (tuple | None): (width, height) as training will load it.
        findings (list[Finding]): problems.
        pixels (dict[int, int]): number of pixels of each label value.
    """
    path: str
    content: str | None
    thumbnail: bytes | None
    size: tuple | None
    findings: list
    pixels: dict


def check_image(task):
    """Check an image and everything that belongs to it."""
    findings = []
    size, content, small = _check_pixels(task, findings)
    width, height = task.size or size or (0, 0)
    for annotation in task.annotations:
        findings += [Finding(kind, f'{task.path}: {text}') for kind, text in
                     check_instance(annotation, width, height, task.with_mask)]
    pixels = {}
    if task.label_map:
        pixels = _check_label_map(task, size, findings)
    return ImageResult(task.path, content, small, size, findings, pixels)


def _check_pixels(task, findings):
    """Decode the image: (width, height) as loaded, hash of its pixels, thumbnail."""
    from PIL import Image
    try:
        with warnings.catch_warnings(), Image.open(task.path) as image:
            warnings.simplefilter('ignore')
            orientation = image.getexif().get(ORIENTATION, 1)
            pixels = np.asarray(image)  # decodes everything: raises where it is cut off
            small = thumbnail(image)
    except FileNotFoundError:
        findings.append(Finding('image-missing', task.path))
        return None, None, None
    except Exception as error:  # a damaged file can raise anything
        findings.append(Finding('image-unreadable', f'{task.path}: {error}'))
        return None, None, None
    height, width = pixels.shape[:2]
    rotated = ''
    if orientation in SWAPPED:
        width, height = height, width
        rotated = f', after its EXIF rotation ({orientation})'
    if task.size and tuple(task.size) != (width, height):
        findings.append(Finding('image-size', f'{task.path} is {width} x {height}{rotated}, the '
                                f'annotation file says {task.size[0]} x {task.size[1]}'))
    elif orientation not in (0, 1):
        findings.append(Finding('image-rotated', f'{task.path}: EXIF orientation {orientation}'))
    digest = hashlib.blake2b(f'{pixels.shape}'.encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels))
    return (width, height), digest.hexdigest(), small


def _check_label_map(task, size, findings):
    path = task.label_map
    try:
        labels = read_label_map(path)
    except InputError as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        findings.append(Finding('map-missing', f'{task.path}: no {path}') if missing else
                        Finding('map-unreadable', str(error)))
        return {}
    if size and labels.shape != size[::-1]:
        findings.append(Finding('map-size', f'{path} is {labels.shape[1]} x {labels.shape[0]}, '
                                f'its image {size[0]} x {size[1]}'))
    values, counts = np.unique(labels, return_counts=True)
    pixels = dict(zip(values.tolist(), counts.tolist()))
    if task.labels:
        number, ignore_index, reduce_zero_label = task.labels
        strange = sorted(set(pixels) - set(
            allowed_values(number, ignore_index, reduce_zero_label)))
        if strange:
            findings.append(Finding('label-values', f'{path}: ' + ', '.join(
                f'{value} ({pixels[value]} pixels)' for value in strange[:8])))
        if not set(pixels) - {ignore_index, 0 if reduce_zero_label else ignore_index}:
            findings.append(Finding('map-ignored', path))
    return pixels
