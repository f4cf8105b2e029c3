"""The entries of COCO's annotation files as records, of whatever is written in them."""
import json
import mmap
from typing import Any

import msgspec

from convnext_dense.errors import InputError

Id = int | str
NONE = msgspec.Raw(b'null')
MANY = 256  # entries that are read at once; where one of them is odd, each alone
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_POLYGONS = msgspec.json.Decoder(list[list[float]])


class _File(msgspec.Struct):
    images: msgspec.Raw = NONE
    annotations: msgspec.Raw = NONE
    categories: msgspec.Raw = NONE


class Image(msgspec.Struct, gc=False):
    id: Any = None
    file_name: Any = None
    width: Any = None
    height: Any = None


class Category(msgspec.Struct, gc=False):
    id: Any = None
    name: Any = None


class Annotation(msgspec.Struct, gc=False):
    id: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    area: Any = None
    iscrowd: Any = None
    ignore: Any = None
    segmentation: msgspec.Raw = NONE


class PlainImage(msgspec.Struct, gc=False):
    """An image as most files have it: many of them are read at once."""
    id: Id
    file_name: str
    width: int
    height: int


class PlainAnnotation(msgspec.Struct, gc=False):
    """An annotation as most files have it, without its mask."""
    id: Id
    image_id: Id
    category_id: Id
    bbox: tuple[float, float, float, float]
    area: float
    iscrowd: int = 0
    ignore: int = 0


class Mask(msgspec.Struct, gc=False):
    segmentation: msgspec.Raw = NONE


def entry_lists(name: str, data: bytes | str) -> list[list[msgspec.Raw]]:
    """The lists of images, annotations and categories, their items not yet decoded."""
    decoder = msgspec.json.Decoder(_File)
    try:
        try:
            content = decoder.decode(data)
        except msgspec.ValidationError:
            content = _File()
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Python's own reader takes more: NaN, other encodings, a byte order mark
            content = decoder.decode(msgspec.json.encode(json.loads(data)))
    except msgspec.ValidationError:
        content = _File()
    except (ValueError, RecursionError) as error:
        text = str(error).splitlines()[0][:200]
        raise InputError(f'the annotation file {name} is no JSON: {text}') from error
    lists, missing = [], []
    for key in ('images', 'annotations', 'categories'):
        raw = getattr(content, key)
        try:
            lists.append(msgspec.json.decode(raw, type=list[msgspec.Raw]))
        except msgspec.ValidationError:
            if key == 'annotations' and bytes(raw) == b'null':
                lists.append([])  # a list of images for a test server
            else:
                missing.append(repr(key))
    if missing:
        raise InputError(f'{name} is no COCO annotation file: it has no list '
                         f'{" and no list ".join(missing)}')
    return lists


def decode_many(items: list[msgspec.Raw], kind: Any) -> list:
    """The records of some items; their text is copied, so that no record may keep a part of it."""
    decoder: Any = msgspec.json.Decoder(list[kind])
    return decoder.decode(b'[' + b','.join(items) + b']')


def plain_images(items: list[msgspec.Raw]) -> tuple[list, list, list] | None:
    """Ids, file names and sizes of images that are all as they should be; else None."""
    records: list = []
    try:
        for first in range(0, len(items), MANY):
            records += decode_many(items[first:first + MANY], PlainImage)
    except UNREADABLE:
        return None
    ids, names = [record.id for record in records], [record.file_name for record in records]
    sizes = [(record.width, record.height) for record in records]
    if not all(names) or any('\0' in name for name in names) or len(set(ids)) < len(ids) or any(
            not 0 < min(size) <= max(size) < 1 << 31 for size in sizes):
        return None
    return ids, names, sizes


def as_id(value: Any) -> Id | None:
    """An id as a whole number or a text; None where it is neither."""
    if type(value) is int or type(value) is str:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None


def decode_mask(mask: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(mask)
    except UNREADABLE:
        return 'unreadable'


def decode_polygons(mask: msgspec.Raw) -> list[list[float]] | None:
    """A mask of polygons, or None where it is anything else."""
    try:
        return _POLYGONS.decode(mask)
    except UNREADABLE:
        return None


def list_at(text: mmap.mmap, start: int, most: int | None = None) -> list | None:
    """The JSON list of objects that begins after ``start``, or None."""
    start = text.find(b'[', start) + 1 if start >= 0 else 0
    if not start:
        return None
    piece = text[start:start + (1 << 20)].decode('utf-8', errors='replace')
    decoder, at = json.JSONDecoder(), 0
    found: list = []
    while most is None or len(found) < most:
        at += len(piece[at:]) - len(piece[at:].lstrip(' \t\r\n,'))
        if piece[at:at + 1] == ']':
            return found
        try:
            entry, at = decoder.raw_decode(piece, at)
        except (ValueError, RecursionError):
            return None
        found.append(entry)
    return found
