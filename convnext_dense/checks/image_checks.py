"""Checks of one image with its annotations or label map, for audit, preflight and training."""
import hashlib
from typing import Any, NamedTuple

import numpy as np

from convnext_dense.checks.findings import Finding
from convnext_dense.checks.image_files import orientation
from convnext_dense.checks.instance_checks import check_instance
from convnext_dense.checks.loading import Loader
from convnext_dense.checks.similar import thumbnail
from convnext_dense.datasets.labels import LabelRules, describe_outside, outside


class ImageTask(NamedTuple):
    """One image to check.

    Attributes:
        path (str): the image.
        size (tuple | None): stated (width, height) in pixels.
        annotations (tuple[dict]): COCO annotations.
        with_mask (bool): whether the pipeline loads masks.
        label_map (str | None): path of the label map.
        rules (LabelRules | None): which values it may hold.
        loader (Loader): loads both.
        info (dict): what the data set knows of the sample besides.
    """
    path: str
    size: tuple | None = None
    annotations: tuple = ()
    with_mask: bool = False
    label_map: str | None = None
    rules: LabelRules | None = None
    loader: Loader | None = None
    info: dict = {}

    def sample(self) -> dict[str, Any]:
        """What the loader takes."""
        return dict(self.info, img_path=self.path, seg_map_path=self.label_map)


class ImageResult(NamedTuple):
    """What was found.

    Attributes:
        path (str): the image.
        content (str | None): hash of the pixels; None where it cannot be read.
        thumbnail (bytes | None): see :func:`convnext_dense.checks.similar.thumbnail`.
        size (tuple | None): (width, height) as training will load it.
        findings (list[Finding]): problems.
        pixels (dict[int, int]): number of pixels of each loaded label value.
        stored (list[int]): the values in the file of the label map, where they are known.
    """
    path: str
    content: str | None
    thumbnail: bytes | None
    size: tuple | None
    findings: list
    pixels: dict
    stored: list


def check_image(task: ImageTask) -> ImageResult:
    """Check an image and everything that belongs to it."""
    findings: list[Finding] = []
    size, content, small = _check_pixels(task, findings)
    width, height = task.size or size or (0, 0)
    for annotation in task.annotations:
        findings += [Finding(kind, f'{task.path}: {text}') for kind, text in
                     check_instance(annotation, width, height, task.with_mask)]
    pixels, stored = _check_label_map(task, size, findings) if task.label_map else ({}, [])
    return ImageResult(task.path, content, small, size, findings, pixels, stored)


def look_at_image(image: np.ndarray,
                  stated: tuple[int | None, int | None] | None = None) -> Finding | None:
    """What is wrong with an image as it was loaded, or None.

    Args:
        image (ndarray): shape (height, width, ...).
        stated (tuple[int, int], optional): width and height in its annotation.

    Returns:
        Finding | None: its text does not name the file.
    """
    height, width = image.shape[:2]
    if min(height, width) < 2:
        return Finding('image-unreadable', f'has {width}x{height} pixels')
    if stated and all(stated) and tuple(stated) != (width, height):
        return Finding('image-size', f'has {width}x{height} pixels, its annotation says '
                       f'{stated[0]}x{stated[1]}')
    return None


def look_at_labels(labels: np.ndarray, size: tuple[int, int] | None,
                   rules: LabelRules | None) -> tuple[list[Finding], dict[int, int]]:
    """What is wrong with a label map as it was loaded.

    Args:
        labels (ndarray): shape (height, width).
        size (tuple[int, int] | None): width and height of its image.
        rules (LabelRules | None): which values it may hold.

    Returns:
        tuple[list[Finding], dict[int, int]]: their texts do not name the file; pixels by value.
    """
    found = []
    if size and labels.shape != (size[1], size[0]):
        found.append(Finding('map-size', f'has {labels.shape[1]}x{labels.shape[0]} pixels, its '
                             f'image {size[0]}x{size[1]}'))
    pixels = count_values(labels)
    if rules is None:
        return found, pixels
    if outside(pixels, rules):
        found.append(Finding('label-values', describe_outside(pixels, rules)))
    elif not set(pixels) - rules.ignored:
        found.append(Finding('map-ignored', 'has no class, only ignored pixels'))
    return found, pixels


def count_values(labels: np.ndarray) -> dict[int, int]:
    """Pixels of each value of a label map, by value."""
    if labels.dtype == np.uint8:
        counts = np.bincount(labels.ravel(), minlength=256)  # unique would sort all pixels
        values = counts.nonzero()[0]
        counts = counts[values]
    else:
        values, counts = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist()))


def _check_pixels(task, findings):
    """Load the image: (width, height), hash of its pixels, thumbnail."""
    image, problem = task.loader.image(task.sample())
    if problem is None:
        problem = look_at_image(image, task.size)
    if problem:
        text = '' if problem.kind == 'image-missing' else f' {problem.text}'
        findings.append(Finding(problem.kind, task.path + text))
    if image is None:
        return None, None, None
    height, width = image.shape[:2]
    turned = orientation(task.path)
    if turned != 1 and problem is None:
        findings.append(Finding('image-rotated', f'{task.path}: EXIF orientation {turned}, '
                                f'loaded as {width}x{height}'))
    digest = hashlib.blake2b(f'{image.shape}{image.dtype}'.encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return (width, height), digest.hexdigest(), thumbnail(as_rgb(image))


def as_rgb(image: np.ndarray) -> Any:
    """A loaded image of any type and number of channels as a PIL image to look at.

    Three channels are BGR, as mmcv loads them; of more, the first three are shown.
    """
    from PIL import Image
    image = image[..., None] if image.ndim == 2 else image
    image = image[..., [0, 0, 0] if image.shape[2] < 3 else [2, 1, 0]]
    if image.dtype != np.uint8:
        image = np.nan_to_num(image.astype(np.float64))
        low, high = image.min(), image.max()
        image = ((image - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(image))


def _check_label_map(task, size, findings):
    """Load the label map: pixels by loaded value, and the values in the file."""
    path = task.label_map
    labels, stored, problem = task.loader.labels(task.sample())
    if problem:
        findings.append(Finding('map-missing', f'{task.path}: no {path}')
                        if problem.kind == 'image-missing' else
                        Finding(problem.kind.replace('image-', 'map-'), f'{path} {problem.text}'))
        return {}, []
    found, pixels = look_at_labels(labels, size, task.rules)
    findings += [Finding(kind, path if kind == 'map-ignored' else f'{path} {text}')
                 for kind, text in found]
    return pixels, [] if stored is None else list(count_values(stored))
