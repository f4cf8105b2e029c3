"""A sheet of random annotated images: what the data set looks like to the eye."""
import colorsys
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convnext_dense.checks.image_checks import ImageTask, as_rgb
from convnext_dense.datasets.coco_masks import undrawable_mask
from convnext_dense.datasets.splits import Split

TILE = (360, 270)  # pixels
COLUMNS = 4
GAP = 6
TITLE = 16
LINE = 18
OPACITY = 0.5
FONT, TITLE_FONT = 12, 18
BACKGROUND, INK = (255, 255, 255), (30, 30, 30)
DIMMED = .4  # brightness of ignored pixels


def draw_sheet(groups: Sequence[tuple], path: str | Path) -> None:
    """Write a sheet of annotated images.

    Args:
        groups (Sequence[tuple]): for each data set its title, its classes, and its samples: tasks
            of :class:`convnext_dense.checks.image_checks.ImageTask` that can be read, and a
            palette, or None for :func:`colours`.
        path (str | Path): the image to write.
    """
    from PIL import Image
    blocks = [block for group in groups for block in _group_blocks(*group)]
    width = COLUMNS * (TILE[0] + GAP) + GAP
    sheet = Image.new('RGB', (width, sum(block.height for block in blocks) + GAP), BACKGROUND)
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height
    sheet.save(path, quality=90)


def choose(tasks: Sequence[ImageTask], count: int, seed: int = 0) -> list[ImageTask]:
    """Random samples of the images, in their order; those with annotations first."""
    rng = random.Random(seed)
    rich = [task for task in tasks if task.annotations or task.label_map]
    poor = [task for task in tasks if not (task.annotations or task.label_map)]
    chosen = rng.sample(rich, min(count, len(rich)))
    chosen += rng.sample(poor, min(count - len(chosen), len(poor)))
    return sorted(chosen, key=lambda task: task.path)


def colours(count: int) -> np.ndarray:
    """Distinct colours, shape (count, 3), 0 to 255: hues a golden ratio apart."""
    return np.array([colorsys.hls_to_rgb((.58 + number * .61803) % 1,
                                         (.5, .65, .38)[number // 7 % 3],
                                         (.75, .5)[number // 21 % 2])
                     for number in range(count)]).reshape(-1, 3) * 255


def own_palette(split: Split) -> np.ndarray | None:
    """The colours that the config or the data set's class gives its classes, or None."""
    named = (split.cfg.get('metainfo') or {}).get('palette') or \
        type(split.dataset).METAINFO.get('palette')
    palette = split.dataset.metainfo.get('palette')
    if not named or len(palette) != len(split.classes) or len(palette) == 1:
        return None  # OpenMMLab has made up random ones
    return np.array(palette, float)


def _group_blocks(title, classes, samples, palette=None):
    """Images of a data set's title, tiles and legend, each as wide as the sheet."""
    palette = colours(max(len(classes), 1)) if palette is None else palette
    tiles, shown = [], set()
    for task in samples:
        tile, present = _tile(task, classes, palette)
        tiles.append((task, tile))
        shown |= present
    yield _title_block(title)
    for start in range(0, len(tiles), COLUMNS):
        yield _row(tiles[start:start + COLUMNS])
    legend = [(classes[number], tuple(palette[number].astype(int))) for number in sorted(shown)]
    if legend and samples[0].label_map:
        legend.append(('ignored: dark', INK))
    per_line = 8
    if legend:
        yield _text_block([legend[start:start + per_line]
                           for start in range(0, len(legend), per_line)])


def _font(size=FONT):
    from PIL import ImageFont
    return ImageFont.load_default(size)


def _title_block(title):
    from PIL import Image, ImageDraw
    block = Image.new('RGB', (COLUMNS * (TILE[0] + GAP) + GAP, 2 * TITLE_FONT), BACKGROUND)
    ImageDraw.Draw(block).text((GAP, TITLE_FONT // 2), title, fill=INK, font=_font(TITLE_FONT))
    return block


def _text_block(lines):
    """Lines of (text, colour of the box before it or None), evenly spread."""
    from PIL import Image, ImageDraw
    width = COLUMNS * (TILE[0] + GAP) + GAP
    block = Image.new('RGB', (width, LINE * len(lines) + GAP), BACKGROUND)
    draw = ImageDraw.Draw(block)
    for row, line in enumerate(lines):
        for column, (text, colour) in enumerate(line):
            x, y = GAP + column * (width // 8), row * LINE + 3
            if colour:
                draw.rectangle((x, y + 2, x + 10, y + 12), fill=colour)
                x += 15
            draw.text((x, y), text if not colour else text[:26], fill=INK, font=_font())
    return block


def _row(tiles):
    from PIL import Image, ImageDraw
    row = Image.new('RGB', (COLUMNS * (TILE[0] + GAP) + GAP, TILE[1] + TITLE + GAP), BACKGROUND)
    draw = ImageDraw.Draw(row)
    for column, (task, tile) in enumerate(tiles):
        x = GAP + column * (TILE[0] + GAP)
        draw.text((x, 1), '/'.join(str(task.path).split('/')[-2:])[-52:], fill=INK, font=_font())
        row.paste(tile, (x + (TILE[0] - tile.width) // 2, TITLE))
    return row


def _tile(task, classes, palette):
    """One image with its annotations, fitted into a tile, and the class numbers in it."""
    from PIL import Image
    image = as_rgb(task.loader.image(task.sample()).image)
    scale = min(TILE[0] / image.width, TILE[1] / image.height)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    image = image.resize(size, Image.Resampling.BILINEAR)
    if task.label_map:
        return _with_labels(image, task, palette, len(classes))
    return _with_instances(image, task, list(classes), palette, scale)


def _with_labels(image, task, palette, classes):
    from PIL import Image
    labels = task.loader.labels(task.sample()).labels.astype(np.int32)
    labels[(labels < 0) | (labels >= classes)] = -1
    labels = np.asarray(Image.fromarray(labels).resize(image.size, Image.Resampling.NEAREST))
    pixels = np.asarray(image, float)
    known = labels >= 0
    pixels[known] += (palette[labels[known]] - pixels[known]) * OPACITY
    pixels[~known] *= DIMMED
    return Image.fromarray(pixels.astype(np.uint8)), set(np.unique(labels[known]).tolist())


def _with_instances(image, task, classes, palette, scale):
    from PIL import Image, ImageDraw
    present = set()
    font = _font()
    for number, annotation in enumerate(task.annotations):
        name = annotation['category']
        known = name in classes
        # one class: a colour for each instance tells them apart better
        colour = colours(24)[number % 24] if len(classes) == 1 else \
            palette[classes.index(name)] if known else np.full(3, 128.)
        fill = tuple(colour.astype(int))
        segmentation = annotation.get('segmentation')
        mask = None if undrawable_mask(segmentation, *(side / scale for side in image.size)) \
            else _mask(segmentation, image.size, scale)
        if mask is not None:
            flat = Image.new('RGB', image.size, fill)
            image = Image.composite(Image.blend(image, flat, OPACITY), image, mask)
        draw = ImageDraw.Draw(image)
        x, y, w, h = (value * scale for value in annotation['bbox'])
        draw.rectangle((x, y, max(x + w, x), max(y + h, y)), outline=fill)
        if len(classes) > 1:
            label = name + (' (crowd)' if annotation.get('iscrowd') else '')
            draw.text((x + 2, y + 1), label, fill=(255, 255, 255), font=font,
                      stroke_width=1, stroke_fill=(0, 0, 0))
        if known and len(classes) > 1:
            present.add(classes.index(name))
    return image, present


def _mask(segmentation, size, scale):
    """A segmentation as an image of 0 and 255 in the size of the tile, or None."""
    from PIL import Image, ImageDraw
    if isinstance(segmentation, list):
        mask = Image.new('L', size)
        draw = ImageDraw.Draw(mask)
        for polygon in segmentation:
            if len(polygon) >= 6:
                draw.polygon([value * scale for value in polygon[:len(polygon) // 2 * 2]],
                             fill=255)
        return mask
    if isinstance(segmentation, dict):
        from pycocotools import mask as coco_mask
        if isinstance(segmentation['counts'], list):
            segmentation = coco_mask.frPyObjects(segmentation, *segmentation['size'])
        return Image.fromarray(coco_mask.decode(segmentation) * 255).resize(
            size, Image.Resampling.NEAREST)
    return None
