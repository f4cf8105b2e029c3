"""COCO annotation files, read once for checking, training and evaluating alike.

Fields that nobody needs may hold anything, and are skipped without being built. What is missing
and can be had is computed or defaulted:

- ``area``: of the mask where there is one, else width times height of the box;
- ``bbox``: the extent of the mask;
- ``iscrowd`` and ``ignore``: 0; ``annotations``: none; an annotation's ``id``: its place;
- ``width`` and ``height``: 0 here, for the reader of the images or the predictions to fill in.

Ids may be whole numbers of any size or texts, and stay as they are; where an annotation has a
number as a text or the other way round, the texts are compared. Everything else that is wrong is a
:class:`~convnext_dense.datasets.coco_problems.Problem`.

Longer than 300 lines: the columns and the reading that fills them are one class.
"""
import json
import mmap
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from convnext_dense.datasets.coco_json import (
    MANY,
    UNREADABLE,
    Annotation,
    Category,
    Id,
    Image,
    Mask,
    PlainAnnotation,
    as_id,
    decode_many,
    decode_mask,
    decode_polygons,
    entry_lists,
    list_at,
    plain_images,
)
from convnext_dense.datasets.coco_masks import (
    FAR,
    are_usual,
    check_mask,
    is_box,
    is_number,
    mask_area,
    mask_problem,
    no_mask,
    rle_size,
)
from convnext_dense.datasets.coco_problems import ERROR, KINDS, OF_FILES, Problems
from convnext_dense.errors import InputError

LARGE = 24_000_000  # bytes, a little more than COCO val: reading it takes a second
SAMPLE = 64  # images of a large file that are read in an outline
LIMIT = 1e100  # of a number in the columns
FAR_ANYWHERE = 1e9  # a coordinate where the size of the image is not known


class CocoFile:
    """The content of an annotation file as columns.

    Annotations that cannot be used, or belong to no listed image or category, are left out.

    Attributes:
        name (str): how messages name the file.
        image_ids (list[int | str]): as written, each once, in the file's order.
        file_names (list[str | None]): of the images.
        sizes (numpy.ndarray): (images, 2) int64: width and height, 0 where not stated.
        category_ids (list[int | str]): in the file's order.
        category_names (list[str]): numbers as their texts.
        ids (list[int | str]): of the annotations.
        images, categories (numpy.ndarray): (annotations,) positions in ``image_ids`` and
            ``category_ids``.
        boxes (numpy.ndarray): (annotations, 4) float64: left, top, width, height.
        areas (numpy.ndarray): (annotations,) float64.
        crowds, ignored (numpy.ndarray): (annotations,) bool.
        problems (Problems): what is wrong.
    """

    def __init__(self, name: str, data: bytes | str, masks: bool = True):
        """Read the text of a file.

        Args:
            name: how messages name it.
            data: JSON.
            masks: keep the segmentations.

        Raises:
            InputError: it is no JSON, or has no list of images or categories.
        """
        self.name = name
        self.problems = Problems()
        self._add = self.problems.add
        images, annotations, categories = entry_lists(name, data)
        self._read_images(images)
        self._read_categories(categories)
        self._read_annotations(annotations, masks)

    # -- reading ---------------------------------------------------------------------------------

    def _records(self, items: Iterable[msgspec.Raw], struct: type, kind: str,
                 first: int = 0) -> Iterable:
        """(place, record) of the items that are objects; the first one's place is ``first``."""
        decode: Any = msgspec.json.Decoder(struct).decode
        for place, item in enumerate(items, first):
            try:
                yield place, decode(item)
            except UNREADABLE:
                self._add(f'{kind}-malformed', f'number {place} is '
                          f'{bytes(item)[:60].decode(errors="replace")}')

    def _read_images(self, items: list) -> None:
        self.image_ids: list[Id] = []
        self.file_names: list[str | None] = []
        sizes: list[tuple[int, int]] = []
        self._image_places: dict[Id, int] = {}
        if plain := plain_images(items):
            self.image_ids, self.file_names, sizes = plain
            self._image_places = {key: place for place, key in enumerate(self.image_ids)}
        else:
            self._read_odd_images(items, sizes)
        self.sizes = np.array(sizes, np.int64).reshape(-1, 2)

    def _read_odd_images(self, items: list, sizes: list[tuple[int, int]]) -> None:
        """The images one by one, with what is wrong with each."""
        seen: Counter = Counter()
        for place, record in self._records(items, Image, 'image'):
            image_id = as_id(record.id)
            what = f'image {record.id!r:.60}'
            if image_id is None:
                self._add('image-malformed', f'number {place} has the id {record.id!r:.60}')
                continue
            if image_id in self._image_places:
                seen[image_id] += 1
                continue
            name = record.file_name
            if not isinstance(name, str) or not name or '\0' in name:
                self._add('file-name-missing', f'{what} has the file_name {name!r:.60}')
                name = None
            self._image_places[image_id] = len(self.image_ids)
            self.image_ids.append(image_id)
            self.file_names.append(name)
            sizes.append((self._side(what, 'width', record.width),
                          self._side(what, 'height', record.height)))
        for image_id, count in seen.items():
            self._add('duplicate-image-id', f'id {image_id!r}, {count + 1} times')

    def _side(self, what: str, key: str, value: Any) -> int:
        if value is None:
            self._add('value-computed', f'{what} has no {key}')
            return 0
        if is_number(value) and value == int(value) and 0 < value < 1 << 31:
            return int(value)
        self._add('number-malformed', f'{what} has the {key} {value!r:.60}')
        return 0

    def _read_categories(self, items: list) -> None:
        self.category_ids: list[Id] = []
        self.category_names: list[str] = []
        ids: Counter = Counter()
        for place, record in self._records(items, Category, 'category'):
            category_id, name = as_id(record.id), record.name
            if category_id is None or not isinstance(name, (str, int, float)):
                self._add('category-malformed', f'number {place} has the id {record.id!r:.60} '
                          f'and the name {name!r:.60}')
                continue
            ids[category_id] += 1
            if ids[category_id] == 1:
                self.category_ids.append(category_id)
                self.category_names.append(str(name))
            else:
                self._add('duplicate-category', f'id {category_id!r} of {str(name)!r:.60} and '
                          f'others')
        for name, count in Counter(self.category_names).items():
            if count > 1:
                of = [category_id for category_id, other in zip(
                    self.category_ids, self.category_names, strict=True) if other == name]
                self._add('duplicate-category', f'name {name!r:.60}, {count} times (ids '
                          f'{", ".join(map(repr, of[:4]))})')

    def _read_annotations(self, items: list, masks: bool) -> None:
        self.ids: list[Id] = []
        self.masks: list[msgspec.Raw] = []
        self._texts: dict[str, dict[str, int]] = {}
        self._category_places = {key: place for place, key in enumerate(self.category_ids)}
        decode: Any = msgspec.json.Decoder(Mask).decode
        table = array('d')
        ids: list[Id] = []
        for first in range(0, len(items), MANY):
            chunk = items[first:first + MANY]
            if plain := self._plain_rows(chunk):
                found, rows = plain
                ids += found
                self.ids += found
                table.frombytes(rows.tobytes())
                if masks:
                    self.masks += [decode(item).segmentation for item in chunk]
                continue
            for place, item in enumerate(chunk, first):
                record = self._read_slowly(place, item)
                row = self._row(place, record, ids) if record else None
                if record is None or row is None:
                    continue
                own_id = as_id(record.id)
                own_id = place if own_id is None else own_id
                ids.append(own_id)
                self.ids.append(own_id)
                table.extend(row)
                if masks:
                    self.masks.append(record.segmentation)
        if len(set(ids)) < len(ids):
            for own_id, count in Counter(ids).items():
                if count > 1:
                    self._add('duplicate-annotation-id', f'id {own_id!r}, {count} times')
        columns = np.frombuffer(table, np.float64).reshape(-1, 9)
        self.images = columns[:, 0].astype(np.int32)
        self.categories = columns[:, 1].astype(np.int32)
        self.boxes, self.areas = columns[:, 2:6].copy(), columns[:, 6].copy()
        self.crowds, self.ignored = columns[:, 7] != 0, columns[:, 8] != 0
        self._check_pixels()

    def _plain_rows(self, items: list) -> tuple[list[Id], np.ndarray] | None:
        """Ids and columns (n, 9) of annotations that have all they need; None if one has not."""
        images, categories = self._image_places.get, self._category_places.get
        try:
            records = decode_many(items, PlainAnnotation)
            rows = np.array([(
                images(record.image_id, -1), categories(record.category_id, -1), *record.bbox,
                record.area, record.iscrowd, record.ignore) for record in records], np.float64)
        except (*UNREADABLE, OverflowError):
            return None
        if (rows[:, :2] < 0).any() or (np.abs(rows) > LIMIT).any():
            return None
        return [record.id for record in records], rows

    def _read_slowly(self, place: int, item: msgspec.Raw) -> Annotation | None:
        return next((record for _, record in self._records([item], Annotation, 'annotation',
                                                           place)), None)

    def _row(self, place: int, record: Annotation, ids: list[Id]) -> tuple | None:
        """The columns of an annotation that is not plain; None where it cannot be used."""
        what = f'annotation {record.id!r:.60}' if record.id is not None else \
            f'annotation number {place}'
        if record.id is None:
            self._add('value-computed', f'{what} has no id')
        elif as_id(record.id) is None:
            self._add('annotation-malformed', f'number {place} has the id {record.id!r:.60}')
            return None
        image = self._find(what, 'image_id', record.image_id, self._image_places)
        category = self._find(what, 'category_id', record.category_id, self._category_places)
        box = self._box(what, record)
        area = self._area(what, record, box)
        crowd = self._flag(what, 'iscrowd', record.iscrowd)
        ignored = self._flag(what, 'ignore', record.ignore)
        if image < 0 or category < 0 or box is None:
            if record.id is not None:
                ids.append(record.id)  # ids of annotations that are left out count as well
            return None
        return (image, category, *box, area, crowd, ignored)

    def _find(self, what: str, key: str, value: Any, places: dict[Id, int]) -> int:
        """Position of the image or category that an annotation names; -1 where it has none."""
        wanted = as_id(value)
        if wanted is None:
            self._add('annotation-malformed', f'{what} has the {key} {value!r:.60}')
            return -1
        place = places.get(wanted)
        if place is None:
            if key not in self._texts:
                self._texts[key] = {str(known): place for known, place in places.items()}
            place = self._texts[key].get(str(wanted))
            if place is None:
                kind = 'unknown-image-id' if key == 'image_id' else 'unknown-category-id'
                self._add(kind, f'{what}: {key} {value!r:.60}')
                return -1
            self._add('id-as-text', f'{what}: {key} {value!r:.60}')
        return place

    def _box(self, what: str, record: Annotation) -> Sequence[float] | None:
        box = record.bbox
        if is_box(box):
            return box
        if box is None and (extent := _extent(decode_mask(record.segmentation))):
            self._add('value-computed', f'{what} has no bbox')
            return extent[0], extent[1], extent[2] - extent[0], extent[3] - extent[1]
        self._add('box-malformed', f'{what} has the bbox {box!r:.80}')
        return None

    def _area(self, what: str, record: Annotation, box: Sequence[float] | None) -> float:
        if record.area is not None:
            if is_number(record.area):
                return record.area
            self._add('number-malformed', f'{what} has the area {record.area!r:.60}')
            return 0.
        self._add('value-computed', f'{what} has no area')
        mask = decode_mask(record.segmentation)
        if mask_problem(mask, 0, 0) is None:
            return mask_area(mask)
        return max(box[2], 0) * max(box[3], 0) if box else 0.

    def _flag(self, what: str, key: str, value: Any) -> bool:
        if value is None:
            return False
        if isinstance(value, bool) or is_number(value):
            return bool(value)
        self._add('number-malformed', f'{what} has the {key} {value!r:.60}')
        return False

    def _check_pixels(self) -> None:
        """Boxes of YOLO's kind, all within 0 to 1, would be boxes of less than a pixel."""
        ends = self.boxes[:, :2] + self.boxes[:, 2:]
        if len(ends) and ends.max() <= 1.01 and self.boxes.min() >= 0 and (
                (self.boxes[:, 2:] % 1) > 0).any():
            for row in range(len(ends)):
                self._add('box-relative', f'annotation {self.ids[row]!r} has the bbox '
                          f'{self.boxes[row].tolist()}')

    # -- what users of the content ask -----------------------------------------------------------

    def mask(self, row: int) -> Any:
        """The segmentation of an annotation as written, None where there is none."""
        return decode_mask(self.masks[row])

    @cached_property
    def unusual_masks(self) -> list[int]:
        """The annotations whose mask is not polygons of three points or more near their image.

        Only these have to be looked at for what could be wrong with a mask.
        """
        sides = self.sizes.max(1, initial=0)[self.images].tolist()
        found = []
        for row, (mask, side) in enumerate(zip(self.masks, sides, strict=True)):
            polygons = decode_polygons(mask)
            if polygons is None or not are_usual(polygons, FAR * side or FAR_ANYWHERE):
                found.append(row)
        return found

    def by_image(self) -> list[np.ndarray]:
        """The rows of each image's annotations, in the file's order."""
        if not self.image_ids:
            return []
        order = np.argsort(self.images, kind='stable')
        return np.split(order, np.searchsorted(self.images[order],
                                               np.arange(1, len(self.image_ids))))

    def annotations(self, rows: Any = slice(None)) -> list[dict[str, Any]]:
        """Annotations as dicts of COCO's layout."""
        columns = (column[rows].tolist() for column in (
            np.arange(len(self.ids)), self.images, self.categories, self.boxes, self.areas,
            self.crowds, self.ignored))
        entries = []
        for row, image, category, box, area, crowd, ignored in zip(*columns, strict=True):
            entry = dict(id=self.ids[row], image_id=self.image_ids[image],
                         category_id=self.category_ids[category], bbox=box, area=area,
                         iscrowd=int(crowd))
            if ignored:
                entry['ignore'] = 1
            if self.masks and not no_mask(mask := self.mask(row)):
                entry['segmentation'] = mask
            entries.append(entry)
        return entries

    def image(self, place: int) -> dict[str, Any]:
        """An image as a dict of COCO's layout; without the size where it is not known."""
        entry = dict(id=self.image_ids[place], file_name=self.file_names[place] or '')
        width, height = self.sizes[place].tolist()
        return dict(entry, width=width, height=height) if width and height else entry

    def refuse(self, where: str = '', files: bool = True, mended: bool = True) -> None:
        """Raise InputError for the worst of the problems, where it is an error.

        Args:
            where: what reads the file, for the message.
            files: the images will be opened.
            mended: values that were missing may be computed; else they are refused too.
        """
        counts, examples = self.problems.counts, self.problems.examples
        where = f'{where}: {self.name}' if where else self.name
        for kind, (severity, meaning, remedy) in KINDS.items():
            bad = severity == ERROR or not mended and kind in ('value-computed', 'id-as-text')
            if counts[kind] and bad and (files or kind not in OF_FILES):
                remedy = remedy or "the data set type 'convnext_dense.CocoDataset' reads it"
                raise InputError(f'{where}: {counts[kind]} {meaning}: '
                                 f'{examples[kind][0]}; {remedy}')
        unknown = counts['unknown-image-id'] + counts['unknown-category-id']
        if unknown and not len(self.ids):
            kind = 'unknown-image-id' if counts['unknown-image-id'] else 'unknown-category-id'
            known = self.image_ids if kind == 'unknown-image-id' else self.category_ids
            raise InputError(
                f'{where}: all {counts[kind]} annotations have an id that is not listed: '
                f'{examples[kind][0]}, the ids are {", ".join(map(repr, known[:3]))}...; write '
                'the ids of the lists into the annotations')


def read_coco(path: str, where: str = '', name: str = '', masks: bool = True) -> CocoFile:
    """Read an annotation file.

    Args:
        path: the file.
        where: what reads it, for messages.
        name: how messages name the file; its path by default.
        masks: keep the segmentations.

    Raises:
        InputError: it is missing, no JSON, or has no list of images or categories.
    """
    name = name or path
    prefix = f'{where}: ' if where else ''
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputError(f'{prefix}the annotation file {name} does not exist; correct ann_file, '
                         'or give the data set\'s folder with --data-root') from error
    except (OSError, ValueError) as error:
        raise InputError(f'{prefix}the annotation file {name} cannot be read: {error}') from error
    try:
        return CocoFile(name, data, masks)
    except InputError as error:
        raise InputError(f'{prefix}{error}') from error


def _extent(mask: Any) -> tuple | None:
    if mask_problem(mask, 0, 0) is not None:
        return None
    height, width = rle_size(mask) or (0, 0)
    return check_mask(mask, width, height)[1]


def read_outline(path: str, where: str = '') -> tuple[CocoFile, bool]:
    """Like :func:`read_coco`, of a large file only what is quickly found.

    Returns:
        (content, whole): of a large file, ``content`` has the categories and the first images, no
        annotations, and ``whole`` is False.
    """
    if not os.path.isfile(path) or os.path.getsize(path) < LARGE:
        return read_coco(path, where), True
    with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        categories = list_at(text, text.rfind(b'"categories"'))
        images = list_at(text, text.find(b'"images"'), SAMPLE)
    if not categories or not images or not all(
            isinstance(image, dict) and 'file_name' in image for image in images):
        return read_coco(path, where), True
    return CocoFile(path, json.dumps(dict(images=images, categories=categories))), False
