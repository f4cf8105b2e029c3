"""Images and annotations against each other, before anything is written."""
from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from convnext_dense.datasets.coco_masks import check_mask, undrawable_mask
from convnext_dense.datasets.image_size import image_sizes
from convnext_dense.datasets.importers.geometry import cut, extent
from convnext_dense.datasets.importers.source import ImageRecord, Repairs, Source
from convnext_dense.errors import InputError


def check_source(source: Source, progress: Iterable[ImageRecord] | None = None) -> None:
    """Compare every image with what is said about it; mend what can be mended, and note it.

    Images get their size as loaded. Boxes are cut at the border of their image; what then is
    smaller than a pixel is left out, as training could not use it.

    Raises:
        InputError: no image or no object is left, two images have one name, an image has another
            size than its annotations or its label map, or a mask is of no use.
    """
    repairs = Repairs()
    _strip_common_folder(source.images)
    seen: dict[tuple[str | None, str], Path] = {}
    kept = []
    for image in progress or source.images:
        other = seen.setdefault((image.split, image.name.lower()), image.path)
        if other != image.path:
            raise InputError(f'two images of one name: {other} and {image.path}; rename one')
        if _check_size(image, repairs):
            image.instances = [mended for instance in image.instances
                               for mended in _mend(instance, image.size, repairs)]
            kept.append(image)
    if len(kept) < len(source.images) / 2:
        raise InputError(f'{len(source.images) - len(kept)} of {len(source.images)} images cannot '
                         f'be read; {repairs.notes()[0]}')
    if not kept:
        raise InputError(f'no image of the source has annotations ({source.format}); '
                         f'{"; ".join(source.notes) or "the source lists none"}')
    source.images = kept
    if not source.labels_of:
        _check_classes(source, repairs)
    source.notes += repairs.notes()


def _strip_common_folder(images):
    """Take away a folder that all names begin with: it tells no images apart."""
    while images and len({image.name.partition('/')[0] for image in images}) == 1 and \
            all('/' in image.name for image in images):
        for image in images:
            image.name = image.name.partition('/')[2]


def _check_size(image, repairs):
    """Set the size as loaded; False for an image that is left out."""
    try:
        stored, loaded = image_sizes(
            io.BytesIO(image.embedded()) if image.embedded else image.path)
    except (InputError, ValueError):  # of images and of base64
        repairs.add('images that cannot be read: left out', image.path)
        return False
    stated = image.size
    what = f'the annotations of {image.path}'
    if image.label_map:
        stated, what = image_sizes(image.label_map)[0], f'the label map {image.label_map}'
    if stated and tuple(stated) != loaded:
        if tuple(stated) == stored:
            raise InputError(
                f'{what} fit it as stored, {stored[0]} x {stored[1]}, but its EXIF orientation '
                'turns it when it is loaded; write the turned images, without EXIF, and annotate '
                'those, or remove the orientation')
        raise InputError(f'{what} are for {stated[0]} x {stated[1]} pixels, but the image has '
                         f'{loaded[0]} x {loaded[1]}; use the images that were annotated')
    image.size = loaded
    return True


def _mend(instance, size, repairs):
    """The instance in a form that training can use, as a list of one or none."""
    width, height = size
    mask = instance.mask
    if mask is not None:
        problem = undrawable_mask(mask, width, height)
        kinds = [] if problem else check_mask(mask, width, height)[0]
        malformed = [text for kind, text in kinds if kind in ('mask-malformed', 'rle-invalid')]
        if problem or malformed:
            raise InputError(f'{instance.where}: {problem or malformed[0]}; correct or remove it')
        if isinstance(mask, list):
            box = extent(mask)
            if cut(box, width, height) != tuple(map(float, box)):
                repairs.add('polygons that leave their image: drawn up to its border',
                            instance.where)
    box = cut(instance.box, width, height)
    if box[2] <= 0 or box[3] <= 0:
        repairs.add('objects wholly outside their image, or of no size: left out', instance.where)
        return []
    if max(abs(new - old) for new, old in zip(box, instance.box)) > 1e-6 * max(size):
        repairs.add('boxes that leave their image: cut at its border', instance.where)
        instance = instance._replace(box=box, area=None)
    if min(instance.box[2:]) < 1:
        repairs.add('boxes less than a pixel wide or high: left out', instance.where)
        return []
    return [instance]


def _check_classes(source, repairs):
    counts = {name: 0 for name in source.classes}
    for image in source.images:
        for instance in image.instances:
            counts[instance.name] = counts.get(instance.name, 0) + 1
    if not sum(counts.values()):
        raise InputError(f'no object is annotated in the {len(source.images)} images '
                         f'({source.format}); annotate some first')
    folded: dict[str, str] = {}
    for name in counts:
        other = folded.setdefault(' '.join(name.lower().replace('_', ' ').split()), name)
        if other != name:
            raise InputError(f'the classes {other!r} ({counts[other]}) and {name!r} '
                             f'({counts[name]}) differ in spelling only; write them in one way')
    for name, count in counts.items():
        if not count:
            repairs.add('classes without an object: kept in the list', name)
    with_masks = [one for image in source.images for one in image.instances]
    missing = [one for one in with_masks if one.mask is None]
    if missing and len(missing) < len(with_masks):
        for one in missing:
            repairs.add('objects without a mask among others that have one: all are taken as boxes',
                        one.where)
