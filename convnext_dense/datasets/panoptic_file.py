"""Annotation files in COCO's panoptic format, checked before any work."""
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from convnext_dense.errors import InputError

_SHAPE = dict(images=('id', 'width', 'height', 'file_name'),
              annotations=('image_id', 'file_name', 'segments_info'),
              categories=('id', 'name', 'isthing'))


class PanopticFile(NamedTuple):
    """The content of an annotation file.

    Attributes:
        name (str): of the file, for errors.
        content (dict): as it is.
    """
    name: str
    content: dict[str, Any]

    @property
    def images(self) -> list[dict]:
        """Sizes and names of the images."""
        return self.content['images']

    @property
    def annotations(self) -> list[dict]:
        """PNG file and segments of each image."""
        return self.content['annotations']

    def categories_of(self, classes: Sequence[str], where: str) -> list[dict]:
        """The category of each label.

        Args:
            classes (Sequence[str]): names in the order of the labels.
            where (str): who asks, for errors.

        Raises:
            InputError: a class is no category, the two come in different orders, or a class of
                things stands after one of stuff: labels would be others'.
        """
        wanted = set(classes)
        found = [one for one in self.content['categories'] if one['name'] in wanted]
        names = [one['name'] for one in found]
        if names != list(classes):
            raise InputError(f'{where}: the categories of {self.name} are {_short(names)}, but '
                             f'the classes are {_short(classes)}; write metainfo.classes as the '
                             'file has them, in its order')
        things = [bool(one['isthing']) for one in found]
        if things != sorted(things, reverse=True):
            name = names[things.index(False)]
            raise InputError(f'{where}: in {self.name} things come after {name!r}, which is '
                             'stuff; list the categories of all things first')
        return found


def _short(names):
    shown = ', '.join(map(str, list(names)[:4]))
    return f'{len(names)} ({shown}{", ..." if len(names) > 4 else ""})'


def read_panoptic(path: str | os.PathLike) -> PanopticFile:
    """Read an annotation file.

    Args:
        path (str | Path): the file.

    Raises:
        InputError: it is missing, is no JSON, or is not in COCO's panoptic format.
    """
    try:
        content = msgspec.json.decode(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f'{path}: {error.strerror}; correct ann_file, or give the data set\'s '
                         'folder with --data-root') from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f'{path} is no JSON: {error}') from error
    for key, fields in _SHAPE.items():
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise InputError(f'{path} has no list of {key}; a panoptic segmenter needs '
                             "annotations in COCO's panoptic format")
        for number, row in enumerate(rows):
            lacking = [field for field in fields if not isinstance(row, dict) or field not in row]
            if lacking:
                raise InputError(f'{path}: {key}[{number}] has no {lacking[0]!r}; expected COCO\'s '
                                 'panoptic format')
    for row in content['annotations']:
        name = Path(row['file_name'])
        if name.is_absolute() or '..' in name.parts:
            raise InputError(f'{path}: the file_name {row["file_name"]} of image '
                             f'{row["image_id"]} leads out of the folder of the PNG files')
    if not content['annotations']:
        raise InputError(f'{path} has no annotations')
    return PanopticFile(str(path), content)
