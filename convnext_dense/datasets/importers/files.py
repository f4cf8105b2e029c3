"""The files of a source: listed once, images found by the names that annotation files use."""
from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path, PurePosixPath

from convnext_dense.errors import InputError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
_SPLIT = {
    'train': re.compile(r'train(ing|set)?(\d{4})?', re.I),
    'val': re.compile(r'(val(id(ation)?)?|dev)(set)?(\d{4})?', re.I),
    'test': re.compile(r'test(ing|set)?(\d{4})?', re.I),
}


class SourceFiles:
    """Every file below a folder, hidden ones and those of archivers left out.

    Args:
        root: the folder.

    Attributes:
        root: the folder.
        paths: the files, sorted.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths: list[Path] = []
        for folder, folders, names in os.walk(root, followlinks=True):
            folders[:] = sorted(name for name in folders
                                if not name.startswith('.') and name != '__MACOSX')
            # a link to a folder above would be walked without end
            above = {os.path.realpath(place) for place in (Path(folder), *Path(folder).parents)}
            folders[:] = [name for name in folders
                          if os.path.realpath(os.path.join(folder, name)) not in above]
            self.paths += [Path(folder, name) for name in sorted(names)
                           if not name.startswith('.')]
        if not self.paths:
            raise InputError(f'{root}: the folder is empty; give the folder that holds the images '
                             'and their annotations')

    def having(self, *suffixes: str) -> list[Path]:
        """The files with one of the suffixes, in lower case."""
        return [path for path in self.paths if path.suffix.lower() in suffixes]

    @cached_property
    def images(self) -> list[Path]:
        return self.having(*IMAGE_SUFFIXES)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in self.images:
            found.setdefault(path.name.lower(), []).append(path)
        return found

    @cached_property
    def _known(self) -> set[Path]:
        return set(self.images)

    def find_image(self, name: str, near: Path, split: str | None = None) -> Path | None:
        """The image that an annotation file calls ``name``.

        Its place is tried as written beside the annotation file and above it; then the image
        with the longest common end of the path is taken, that of the split where there are more.

        Args:
            name: as written: relative, absolute, with either slash, or a URL.
            near: the annotation file.
            split: of the annotation file.

        Returns:
            The path, or None where there is none.

        Raises:
            InputError: several images fit equally well.
        """
        parts = [part for part in PurePosixPath(name.replace('\\', '/').split('?')[0]).parts
                 if part not in ('/', '.')]
        if not parts:
            return None
        for folder in near.parents:
            path = Path(os.path.normpath(folder.joinpath(*parts)))
            if path in self._known:
                return path
            if folder == self.root:
                break
        fitting = self._by_name.get(parts[-1].lower(), [])
        if len(fitting) > 1:
            fitting = _best(fitting, lambda path: _common_end(path.parts, parts))
        if len(fitting) > 1:
            fitting = _best(fitting, lambda path: split_of(path, self.root) == split)
        if len(fitting) > 1:
            fitting = _best(fitting, lambda path: path.parent == near.parent)
        if len(fitting) > 1:
            raise InputError(f'{near}: {name} may be {fitting[0]} or {fitting[1]}: two images of '
                             'one name; write their folders into the annotation file')
        return fitting[0] if fitting else None


def _best(paths, score):
    most = max(map(score, paths))
    return [path for path in paths if score(path) == most]


def _common_end(parts, others):
    count = 0
    for part, other in zip(reversed(parts), reversed(others)):
        if part.lower() != other.lower():
            break
        count += 1
    return count


def split_name(word: str) -> str | None:
    """train, val or test for a word such as ``Training``, ``valid`` or ``val2017``."""
    return next((split for split, form in _SPLIT.items() if form.fullmatch(word)), None)


def split_of(path: Path, root: Path) -> str | None:
    """The split that a file's folders below ``root``, or else the words of its name, say.

    >>> split_of(Path('/d/valid/images/a.jpg'), Path('/d'))
    'val'
    """
    for folder in path.relative_to(root).parts[:-1]:
        for word in (folder, *re.split(r'[\W_]+', folder)):
            if split_name(word):
                return split_name(word)
    return None


def split_of_list(path: Path, root: Path) -> str | None:
    """The split of an annotation file or list, whose own name may say it, too."""
    words = re.split(r'[\W_]+', path.stem)
    return next(filter(None, map(split_name, reversed(words))), None) or split_of(path, root)


def name_in_split(path: Path, root: Path, files_root: Path | None = None) -> str:
    """The name of an image below its split: its path without folders that name split or kind."""
    parts = path.relative_to(files_root or root).parts
    kept = [part for part in parts[:-1]
            if not split_name(part) and part.lower() not in _KINDS]
    return '/'.join((*kept, parts[-1]))


_KINDS = {'images', 'image', 'imgs', 'img', 'jpegimages', 'photos', 'data', 'leftimg8bit',
          'obj_train_data', 'obj_valid_data', 'obj_test_data', 'default'}
