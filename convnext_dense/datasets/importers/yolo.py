"""YOLO labels, boxes and polygons: with Ultralytics' data.yaml, obj.names or classes.txt."""
from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from convnext_dense.datasets.image_size import image_sizes
from convnext_dense.datasets.importers.files import SourceFiles, name_in_split, split_of
from convnext_dense.datasets.importers.geometry import extent
from convnext_dense.datasets.importers.source import ImageRecord, Instance, Repairs, Source
from convnext_dense.errors import InputError

if TYPE_CHECKING:
    from convnext_dense.datasets.importers.options import Options

TITLE = 'YOLO'
FAR = 1.5  # coordinates beyond it are pixels, not shares of the image's sides
_NAME_LISTS = ('classes.txt', 'obj.names', '_darknet.labels')
_LINE = re.compile(r'\s*\d+(\.0*)?(\s+[-+.\deE]+){4,}\s*')


def found(files: SourceFiles) -> list[Path]:
    """data.yaml, or a list of names beside label files."""
    yamls = [path for path in files.having('.yaml', '.yml') if 'names' in _yaml(path)]
    lists = [path for path in files.paths if path.name in _NAME_LISTS]
    return yamls or (lists if lists and _some_labels(files) else [])


def _yaml(path):
    try:
        text = path.read_text(encoding='utf-8-sig')
        # a few lines of references to references mean billions of names
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            return {}
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _some_labels(files):
    stems = {path.stem for path in files.images}
    texts = [path for path in files.having('.txt') if path.stem in stems]
    return any(_LINE.fullmatch(line) for path in texts[:50]
               for line in path.read_text(errors='replace').splitlines()[:1])


def read(files: SourceFiles, options: Options | None = None) -> Source:
    """Read data.yaml (or the list of names) and the label file of each image.

    Raises:
        InputError: class numbers beyond the names, coordinates in pixels, lines of another form.
    """
    repairs = Repairs()
    config, *more = found(files)
    if more and config.suffix in ('.yaml', '.yml'):
        raise InputError(f'{config} and {more[0]} both name classes; leave one of them')
    if config.suffix in ('.yaml', '.yml'):
        content = _yaml(config)
        names = _names(config, content['names'])
        splits = _listed(config, content, files, repairs)
    else:
        content = {}
        names = _names(config, [line.strip() for line in config.read_text().splitlines()
                                if line.strip()])
        splits = {path: split_of(path, files.root) for path in files.images}
    pose = 'kpt_shape' in content
    images, labels_used = [], set()
    for path, split in splits.items():
        labels, size = _labels_of(path), _size_or_none(path, repairs)
        if labels is None:
            repairs.add('images without a label file: kept as images without objects', path)
        else:
            labels_used.add(labels)
        if size:
            images.append(ImageRecord(
                path, name_in_split(path, files.root), split, size,
                _instances(labels, size, names, config, pose, repairs) if labels else []))
    if not labels_used:
        raise InputError(f'{files.root}: none of the {len(images)} images has a label file; '
                         'expected labels/NAME.txt for images/NAME.jpg, or NAME.txt beside the '
                         'image')
    lone = [path for path in files.having('.txt') if path not in labels_used
            and path.stem not in {image.path.stem for image in images} and _is_label_file(path)]
    for path in lone:
        repairs.add('label files without an image: left out', path)
    return Source(f'{TITLE} ({config.name})', [names[key] for key in sorted(names)], images,
                  repairs.notes())


def _names(path, names):
    """{number: name} of a list or dict of names."""
    if isinstance(names, (list, tuple)):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or \
            not all(str(key).isdigit() for key in names):
        raise InputError(f'{path}: names is {names!r:.60}; write a list of class names, or '
                         '{0: name, 1: name}')
    named = {int(key): str(name).strip() for key, name in names.items()}
    if len(set(named.values())) < len(named):
        double = next(name for name in named.values() if list(named.values()).count(name) > 1)
        raise InputError(f'{path}: the class name {double!r} stands twice in names; rename one')
    return named


def _listed(config, content, files, repairs):
    """{image: split} of the folders and lists that data.yaml names."""
    listed: dict[Path, list[str]] = {}
    missing = []
    for key, split in (('train', 'train'), ('val', 'val'), ('valid', 'val'), ('test', 'test')):
        value = content.get(key)
        for place in value if isinstance(value, list) else [value] if value else []:
            path = _place(config, content.get('path'), str(place), files.root)
            if path is None:
                missing.append(f'{key}: {place}')
            for image in _images_at(path, files) if path else ():
                listed.setdefault(image, []).append(split)
    if not listed:
        if missing:
            raise InputError(f'{config}: {missing[0]} is not there; correct path and '
                             f'{missing[0].partition(":")[0]}')
        return {path: split_of(path, files.root) for path in files.images}
    for place in missing:
        repairs.add('places of data.yaml that are not there: left out', place)
    shared = [path for path, splits in listed.items() if len(set(splits)) > 1]
    if len(shared) == len(listed):  # one folder for all, as in Ultralytics' coco128.yaml
        return dict.fromkeys(listed)
    for path in shared:
        repairs.add('images that stand in two splits: taken for the later one', path)
    return {path: splits[-1] for path, splits in listed.items()}


def _place(config, base, place, root):
    """Where a path of data.yaml leads: as Ultralytics reads it, or moved beside the file."""
    stripped = re.sub(r'^(\.\./)+', '', place.replace('\\', '/'))
    for folder in (config.parent / (base or ''), config.parent, root):
        for name in (place, stripped):
            path = Path(os.path.normpath(folder / name))
            # elsewhere is nothing of this source, but perhaps a whole disk to walk through
            if path.exists() and (path.is_relative_to(root) or root.is_relative_to(path)):
                return path
    return None


def _images_at(path, files):
    if path.is_dir():
        return [image for image in files.images if path in image.parents]
    names = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    images = [files.find_image(name, path) for name in names]
    if None in images:
        raise InputError(f'{path} lists {names[images.index(None)]}, which is not there; '
                         'correct it')
    return images


def _labels_of(path):
    """labels/.../NAME.txt for images/.../NAME.jpg, else NAME.txt beside the image."""
    parts = list(path.parts)
    for number in reversed(range(len(parts) - 1)):
        if parts[number].lower() == 'images':
            labels = Path(*parts[:number], 'labels', *parts[number + 1:]).with_suffix('.txt')
            if labels.is_file():
                return labels
    beside = path.with_suffix('.txt')
    return beside if beside.is_file() else None


def _is_label_file(path):
    lines = path.read_text(errors='replace').split('\n')
    return bool(_LINE.fullmatch(lines[0]))


def _instances(path, size, names, config, pose, repairs):
    width, height = size
    instances = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        where = f'line {number} of {path}'
        if not words:
            continue
        try:
            label, *values = map(float, words)
        except ValueError as error:
            raise InputError(f'{where} is {line!r:.60}, not numbers; expected "class x y width '
                             'height" or "class x y x y ..."') from error
        if label not in names:
            raise InputError(f'{where} has class {label:g}, but {config} names '
                             f'{len(names)} classes, {min(names)} to {max(names)}; add its name or '
                             'correct the label')
        if pose:
            values = values[:4]
        if not all(map(math.isfinite, values)) or not (
                len(values) == 4 or len(values) >= 6 and len(values) % 2 == 0):
            raise InputError(f'{where} has {len(values)} values after the class; a box has 4, a '
                             'polygon 6 or more in pairs')
        if max(map(abs, values)) > FAR:
            raise InputError(f'{where} has the coordinate {max(values, key=abs):g}; YOLO labels '
                             'hold shares of width and height, 0 to 1: divide pixels by the size')
        instances.append(_instance(names[int(label)], values, width, height, where))
    kept = {(one.name, one.box, str(one.mask)): one for one in instances}
    for _ in range(len(instances) - len(kept)):
        repairs.add('labels that stand twice in a file: kept once', path)
    return list(kept.values())


def _instance(name, values, width, height, where):
    if len(values) == 4:
        x, y, w, h = values
        return Instance(name, ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height),
                        where=where)
    polygon = [value * (height if number % 2 else width) for number, value in enumerate(values)]
    return Instance(name, extent([polygon]), [polygon], where=where)


def _size_or_none(path, repairs):
    """The size as loaded, or None after counting a file that is no image among the repairs."""
    try:
        return image_sizes(path)[1]
    except InputError:
        repairs.add('images that cannot be read: left out', path)
        return None
