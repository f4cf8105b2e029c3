"""Pascal VOC XML, one file an image: of VOC itself, LabelImg, CVAT and Roboflow; boxes."""
from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from convnext_dense.datasets.importers.files import SourceFiles, name_in_split, split_of
from convnext_dense.datasets.importers.source import ImageRecord, Instance, Repairs, Source
from convnext_dense.errors import InputError
from convnext_dense.wording import counted

if TYPE_CHECKING:
    from convnext_dense.datasets.importers.options import Options

TITLE = 'Pascal VOC'


def found(files: SourceFiles) -> list[Path]:
    """The XML files whose root is ``annotation``."""
    return [path for path in files.having('.xml') if xml_root(path) == 'annotation']


def xml_root(path: Path) -> str | None:
    """The name of an XML file's root."""
    with open(path, 'rb') as file:
        start = file.read(4096).decode('utf-8', 'replace')
    start = re.sub(r'<\?.*?\?>|<!--.*?-->|<!.*?>', '', start, flags=re.S)
    root = re.search(r'<\s*([\w:.-]+)', start)
    return root.group(1) if root else None


def read(files: SourceFiles, options: Options | None = None) -> Source:
    """Read the XML files; ImageSets/Main says the splits where it is there.

    VOC counts pixels from 1, and the last one belongs to the box: 1 is subtracted from xmin and
    ymin. Where a coordinate of the source is 0 or has a decimal point, as CVAT writes them, all
    are taken as they are.

    Raises:
        InputError: XML that cannot be parsed, objects without a name or a box.
    """
    repairs = Repairs()
    lists = _lists(files)
    pages = [(path, parse(path)) for path in found(files)]
    shift = 0. if any(_counts_from_zero(page) for _, page in pages) else 1.
    images: list[ImageRecord] = []
    for path, page in pages:
        name = (page.findtext('filename') or path.stem).strip()
        image = _image(files, path, name)
        if image is None:
            repairs.add('label files without an image: left out', path)
            continue
        split = split_of(path, files.root) or split_of(image, files.root)
        if lists:
            split = lists.get(path.stem, lists.get(image.stem))
            if split is None:
                repairs.add('images that no list of ImageSets names: left out', image)
                continue
        size = [page.findtext(f'size/{side}') for side in ('width', 'height')]
        sides = [int(float(side)) for side in size if side and float(side) > 0]
        images.append(ImageRecord(
            image, name_in_split(image, files.root), split,
            (sides[0], sides[1]) if len(sides) == 2 else None,
            [_instance(entry, path, shift) for entry in page.iter('object')]))
    if shift and images:
        repairs.add('source of boxes that count pixels from 1, as VOC does: 1 is subtracted from '
                    'xmin and ymin', files.root.name)
    unlabelled = set(files.images) - {image.path for image in images}
    notes = repairs.notes()
    if unlabelled and not lists:
        notes.append(f'{counted(len(unlabelled), "image")} without an XML file: left out '
                     f'(the first: {min(unlabelled)})')
    classes = sorted({instance.name for image in images for instance in image.instances})
    return Source(TITLE, classes, images, notes)


def parse(path: Path) -> ElementTree.Element:
    """The root of an XML file; InputError where it is none."""
    try:
        return ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise InputError(f'{path} is no XML: {error}; export it again') from error


def _image(files, path, name):
    """The image of the stated name, or of the XML file's own."""
    image = files.find_image(name, path, split_of(path, files.root))
    if image is None:
        same = [one for one in files.images if one.stem == path.stem]
        near = [one for one in same if one.parent == path.parent] or same
        image = near[0] if len(near) == 1 else None
    return image


def _lists(files):
    """{stem: split} of ImageSets/Main/{train,val,test,trainval}.txt."""
    splits: dict[str, str] = {}
    for name, split in (('trainval', 'train'), ('train', 'train'), ('val', 'val'),
                        ('test', 'test')):
        for path in files.having('.txt'):
            if path.stem == name and path.parent.name == 'Main':
                for line in path.read_text().splitlines():
                    if line.strip():
                        splits[Path(line.split()[0]).stem] = split
    return splits


def _corners(entry):
    return [entry.findtext(f'bndbox/{key}') for key in ('xmin', 'ymin', 'xmax', 'ymax')]


def _counts_from_zero(page):
    for entry in page.iter('object'):
        for corner in _corners(entry):
            if corner and ('.' in corner or corner.strip() == '0'):
                return True
    return False


def _instance(entry, path, shift):
    name = (entry.findtext('name') or '').strip()
    if not name:
        raise InputError(f'{path}: an object has no name; give it one')
    if entry.find('polygon') is not None and entry.find('bndbox') is None:
        raise InputError(f'{path}: a {name} has a polygon in place of a bndbox, as in the XML of '
                         'the old LabelMe; export COCO or LabelMe JSON')
    try:
        x1, y1, x2, y2 = (float(corner) for corner in _corners(entry))
    except (TypeError, ValueError) as error:
        raise InputError(f'{path}: a {name} has no box of four numbers (xmin, ymin, xmax, ymax); '
                         'correct it') from error
    x1, y1 = x1 - shift, y1 - shift
    return Instance(name, (x1, y1, x2 - x1, y2 - y1), where=f'a {name} of {path}')
