"""The embedded data set: images of shapes, with instance masks and label maps.

Every image is drawn from its own seed: a textured background, scribbles that belong to no
class, and shapes of five classes in random sizes, turns, colours and textures that hide parts of
each other. Colour hints at the class, as it does in photographs: nine shapes of ten have a hue
near that of their class, the tenth any. The outline decides. The same images are annotated
twice, the way COCO annotates instances and the way ADE20K annotates scenes::

    images/{training,validation}/000000.jpg
    annotations/instances_{training,validation}.json    COCO: visible parts, boxes, classes
    annotations/{training,validation}/000000.png        ADE20K: 0 is unlabelled, 1 the background,
                                                        2 to 6 the classes of the shapes
    data_set.json                                       the settings that it was drawn with
"""
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from convnext_dense.errors import InputError
from convnext_dense.files import write_image

CLASSES = ('disc', 'ring', 'square', 'triangle', 'star')
SCENE_CLASSES = ('background', *CLASSES)
#: first number of an image's seed; the second is its index, so no two splits share a seed
SPLITS = {'training': 0, 'validation': 1}
UNLABELLED, BACKGROUND = 0, 1

FORMAT = 2  # raise it when the drawing changes, so that old data sets are drawn again
SETTINGS_FILE = 'data_set.json'
SUPERSAMPLING = 4
RELATIVE_DIAMETER = (.12, .65)  # of the image's side
TYPICAL_HUE = .9  # part of the shapes whose hue is near that of their class
HUE_SPREAD = 20  # standard deviation of such a hue, in degrees
MIN_VISIBLE = .4  # of a shape that others hide
MIN_CONTRAST = 60  # largest difference of a colour channel, of 255


def outline(name: str, diameter: float, angle: float) -> list[np.ndarray]:
    """Outlines of a shape around the origin; with two, the second is a hole in the first.

    Args:
        name (str): one of ``CLASSES``.
        diameter (float): of the circle around the shape, in pixels.
        angle (float): turn in radians.

    Returns:
        list[ndarray]: arrays of shape (corners, 2).
    """
    def corners(count, radii):
        turns = angle + np.arange(count) * 2 * np.pi / count
        radii = np.resize(np.asarray(radii, float), count)[:, None]
        return diameter / 2 * radii * np.stack([np.cos(turns), np.sin(turns)], axis=1)

    return {
        'disc': lambda: [corners(64, 1)],
        'ring': lambda: [corners(64, 1), corners(64, .52)],
        'square': lambda: [corners(4, 1)],
        'triangle': lambda: [corners(3, 1)],
        'star': lambda: [corners(10, [1, .45])],
    }[name]()


def coverage(outlines: Sequence[np.ndarray], centre: Sequence[float] | np.ndarray,
             size: int) -> np.ndarray:
    """Part of each pixel that outlines cover, float32 of shape (size, size) in [0, 1]."""
    canvas = np.zeros((size * SUPERSAMPLING, size * SUPERSAMPLING), np.uint8)
    # pixel centres of the finer canvas lie half a fine pixel beside the coordinates
    points = [np.round((o + centre) * SUPERSAMPLING - .5).astype(np.int32) for o in outlines]
    cv2.fillPoly(canvas, points, 255)  # even-odd: a second outline is a hole
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def texture(rng: np.random.Generator, colour: Sequence[float] | np.ndarray,
            size: int) -> np.ndarray:
    """A texture around ``colour``, float32 of shape (size, size, 3): plain, gradient, stripes,
    checks or blotches."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    turn, period = rng.uniform(0, 2 * np.pi), rng.uniform(5, 16)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    kind = rng.integers(5)
    if kind == 0:
        pattern = np.zeros_like(x)
    elif kind == 1:
        pattern = (along - along.mean()) / size * 2
    elif kind == 2:
        pattern = np.sign(np.sin(along * 2 * np.pi / period))
    elif kind == 3:
        pattern = np.sign(np.sin(along * np.pi / period) * np.sin(across * np.pi / period))
    else:
        cells = int(size / period) + 1
        pattern = cv2.resize(rng.uniform(-1, 1, (cells, cells)).astype(np.float32), (size, size),
                             interpolation=cv2.INTER_CUBIC)
    strength = rng.uniform(8, 30)
    return np.clip(np.asarray(colour, np.float32) + strength * pattern[..., None], 0, 255)


def draw_scribble(rng: np.random.Generator, size: int) -> np.ndarray:
    """Coverage of a thin curve that belongs to no class."""
    points = rng.uniform(0, size, 2) + np.cumsum(rng.uniform(-.2, .2, (6, 2)) * size, axis=0)
    canvas = np.zeros((size * SUPERSAMPLING, size * SUPERSAMPLING), np.uint8)
    cv2.polylines(canvas, [np.round(points * SUPERSAMPLING).astype(np.int32)], False, 255,
                  thickness=int(SUPERSAMPLING * rng.uniform(1.5, 3.5)))
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def draw_image(seed: int | Sequence[int],
               size: int = 160) -> tuple[np.ndarray, np.ndarray, list[int], np.ndarray]:
    """Draw one image.

    Args:
        seed (int | Sequence[int]): the same seed gives the same image.
        size (int): side of the square image in pixels.

    Returns:
        tuple: the image, uint8 (size, size, 3) in BGR order; the visible part of each
        shape, bool (shapes, size, size); the class of each, an index into ``CLASSES``; and the
        label map, uint8 (size, size), with ``UNLABELLED``, ``BACKGROUND`` and from 2 on the
        classes of the shapes.
    """
    rng = np.random.default_rng(seed)
    # backgrounds are paler than shapes
    background = _colour(rng.uniform(0, 360), rng.uniform(0, .4), rng.uniform(.2, .9))
    image = texture(rng, background, size)
    labels = np.full((size, size), BACKGROUND, np.uint8)
    for _ in range(rng.integers(3)):
        alpha = draw_scribble(rng, size)
        image = _paint(rng, image, alpha)
        labels[alpha > .5] = UNLABELLED

    visible: list[np.ndarray] = []
    whole: list[np.ndarray] = []
    classes: list[int] = []
    for _ in range(rng.integers(2, 8)):
        name = int(rng.integers(len(CLASSES)))
        # even on a logarithmic scale: as many between 20 and 40 pixels as between 40 and 80
        diameter = size * np.exp(rng.uniform(*np.log(RELATIVE_DIAMETER)))
        margin = diameter * .4
        outlines = outline(CLASSES[name], diameter, rng.uniform(0, 2 * np.pi))
        alpha = coverage(outlines, rng.uniform(margin, size - margin, 2), size)
        mask = alpha > .5
        if any((old & ~mask).sum() < MIN_VISIBLE * area for old, area in zip(visible, whole)):
            continue  # it would hide another shape too far to tell what that is
        image = _paint(rng, image, alpha, name if rng.random() < TYPICAL_HUE else None)
        labels[mask] = BACKGROUND + 1 + name
        visible = [old & ~mask for old in visible] + [mask]
        whole.append(mask.sum())
        classes.append(name)

    if rng.random() < .3:
        image = cv2.GaussianBlur(image, (3, 3), 0)
    image = image + rng.normal(0, rng.uniform(2, 8), image.shape)
    return np.clip(image, 0, 255).round().astype(np.uint8), np.stack(visible), classes, labels


def _paint(rng, image, alpha, name=None):
    """Paint a shape in a texture whose colour differs from the mean of what it covers.

    Args:
        alpha (ndarray): what the shape covers of each pixel, in [0, 1].
        name (int | None): the class whose hue it takes; None takes any.
    """
    under = (image * alpha[..., None]).sum((0, 1)) / max(alpha.sum(), 1e-6)
    while True:
        hue = rng.uniform(0, 360) if name is None else \
            rng.normal(name * 360 / len(CLASSES), HUE_SPREAD)
        colour = _colour(hue, rng.uniform(.5, 1), rng.uniform(.4, 1))
        if np.abs(colour - under).max() >= MIN_CONTRAST:
            break
    alpha = alpha[..., None]
    return image * (1 - alpha) + texture(rng, colour, image.shape[0]) * alpha


def _colour(hue, saturation, value):
    """BGR of a hue in degrees, a saturation and a value in [0, 1], float32 in [0, 255]."""
    hsv = np.array([[[hue % 360, saturation, value]]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0] * 255


def encode_mask(mask: np.ndarray) -> list[list[float]] | dict[str, list[int]]:
    """A mask the way COCO keeps it: polygons, or run lengths where it has a hole.

    Args:
        mask (ndarray): bool of shape (H, W).

    Returns:
        list | dict: polygons ``[[x0, y0, x1, y1, ...], ...]`` in pixels, or
        ``dict(size=[H, W], counts=[...])``. pycocotools decodes both to exactly ``mask``.
    """
    # in an image of twice the size the contour of pixel centres runs a quarter of a pixel
    # inside the mask's edge, where COCO's rasteriser rounds to the same pixels
    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if (hierarchy[0, :, 3] >= 0).any():
        return dict(size=list(mask.shape), counts=_run_lengths(mask))
    return [((contour[:, 0] + .5) / 2).flatten().tolist() for contour in contours]


def _run_lengths(mask):
    """Lengths of the runs of 0 and 1 in turn, down the columns, starting with 0."""
    flat = mask.flatten(order='F')
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]))).tolist()
    return np.diff([0, *edges, flat.size]).tolist()


def _bounding_box(mask):
    """[x, y, width, height] in pixels."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    x, y = columns[0], rows[0]
    return [int(n) for n in (x, y, columns[-1] + 1 - x, rows[-1] + 1 - y)]


def write_shapes(root: str | Path, train: int = 400, val: int = 100, size: int = 160) -> bool:
    """Write the data set into the folder ``root``, or leave it if it is there already.

    It is written beside its place and renamed when it is whole. A data set of shapes with other
    settings is replaced.

    Args:
        root (str | Path): the folder.
        train, val (int): number of images of each split.
        size (int): side of the images in pixels.

    Returns:
        bool: whether it was written.

    Raises:
        InputError: ``root`` holds something else, or cannot be written; or a setting is too
            small.
    """
    if train < 1 or val < 1 or size < 64:
        raise InputError(f'shapes: {train} training and {val} validation images of {size} '
                         'pixels; give at least 1 of each, of at least 64 pixels')
    root = Path(root)
    settings = dict(format=FORMAT, training=train, validation=val, size=size,
                    classes=list(CLASSES))
    if root.exists():
        found = _read_settings(root)
        if found == settings:
            return False
        if found is None:
            raise InputError(f'{root} exists and holds no data set of shapes (no '
                             f'{SETTINGS_FILE}); give another folder or remove it')
    temporary = None
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f'{root.name}.', dir=root.parent))
        for split in SPLITS:
            _write_split(temporary, split, settings[split], size)
        (temporary / SETTINGS_FILE).write_text(json.dumps(settings, indent=1))
        temporary.chmod(0o755)  # mkdtemp's own is 700
        if root.exists():
            shutil.rmtree(root)
        os.rename(temporary, root)
    except OSError as error:
        raise InputError(f'the data set of shapes cannot be written to {root}: {error.strerror}; '
                         'give a folder that can be written') from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return True


def _read_settings(root):
    try:
        settings = json.loads((root / SETTINGS_FILE).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return settings if isinstance(settings, dict) and 'format' in settings else None


def _write_split(root, split, count, size):
    images, annotations = list[dict](), list[dict]()
    for folder in ('images', 'annotations'):
        (root / folder / split).mkdir(parents=True)
    for index in range(count):
        image, masks, classes, labels = draw_image([SPLITS[split], index], size)
        name = f'{index:06d}'
        write_image(root / 'images' / split / f'{name}.jpg', image,
                       [cv2.IMWRITE_JPEG_QUALITY, 95])
        write_image(root / 'annotations' / split / f'{name}.png', labels)
        images.append(dict(id=index, file_name=f'{name}.jpg', height=size, width=size))
        for mask, label in zip(masks, classes):
            annotations.append(dict(
                id=len(annotations) + 1, image_id=index, category_id=label + 1, iscrowd=0,
                area=int(mask.sum()), bbox=_bounding_box(mask), segmentation=encode_mask(mask)))
    categories = [dict(id=label + 1, name=name) for label, name in enumerate(CLASSES)]
    path = root / 'annotations' / f'instances_{split}.json'
    path.write_text(json.dumps(dict(
        info=dict(description='images of shapes, drawn by convnext-dense'),
        images=images, annotations=annotations, categories=categories)))
