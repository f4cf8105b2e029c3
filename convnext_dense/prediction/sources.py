"""Where images come from: files, folders, globs, videos, a webcam, a list."""
import glob
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from convnext_dense.errors import InputError

IMAGES = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.tif', '.tiff', '.webp', '.gif',
          '.ppm', '.pgm', '.pbm', '.jp2', '.exr', '.hdr', '.npy')
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts')


class Source(NamedTuple):
    """An image file, a video file or a webcam.

    Attributes:
        place (str | int): the path, or the number of a webcam.
        name (str): for its results: a relative path with ``/``, unique among the sources.
        kind (str): ``image`` or ``video``.
        stem (str): the name of its label files without suffix: ``name`` without its own, unless
            another source has the same then.
    """
    place: str | int
    name: str
    kind: str
    stem: str


class Frame(NamedTuple):
    """What belongs to an image while it is predicted.

    Attributes:
        source (Source): where it is from.
        number (int | None): of a video's frame, from 0.
        fps (float): of the video; 0 for an image.
    """
    source: Source
    number: int | None = None
    fps: float = 0.

    @property
    def name(self) -> str:
        """The image's name in tables: the source's, and the frame's number."""
        return self.source.name if self.number is None else f'{self.source.name}#{self.number}'


def find_sources(arguments: Sequence[str], listed: Iterable[str] = (),
                 leave_out: str | Path | None = None) -> list[Source]:
    """The sources that the arguments of a command mean.

    Args:
        arguments (Sequence[str]): image and video files; folders, looked at with their
            sub-folders; globs; the number of a webcam; ``-`` for ``listed``.
        listed (Iterable[str]): lines of a list of files, read where an argument is ``-``.
        leave_out (str | Path, optional): a folder that is not looked into: that of the results.

    Returns:
        list[Source]: each file once, a folder's by name.

    Raises:
        InputError: nothing there, or nothing that is an image or a video.
    """
    found: dict[str, str] = {}  # name of each real place
    places: dict[str, str | int] = {}
    pairs: list[tuple[str | int, str]]
    for argument in arguments:
        if argument == '-':
            lines = [line.strip('\r\n') for line in listed]
            pairs = [pair for line in lines if line for pair in _expand(line, leave_out)]
            if not pairs:
                raise InputError('the list on standard input names no files')
        elif argument.isdigit() and not os.path.exists(argument):
            pairs = [(int(argument), f'webcam-{argument}')]
        else:
            pairs = _expand(argument, leave_out)
        for place, name in pairs:
            real = os.path.realpath(place) if isinstance(place, str) else f'webcam {place}'
            if real not in found:
                found[real], places[real] = name, place
    names = _unique(found)
    stems = _stems(names.values())
    return [Source(places[real], name, _kind(places[real]), stems[name])
            for real, name in names.items()]


def _stems(names):
    """The stem of each name, for which see :class:`Source`."""
    counts = Counter(os.path.splitext(name)[0].lower() for name in names)
    taken = {*map(str.lower, names), 'classes'}  # classes.txt lists the names of classes
    stems = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        stems[name] = stem if counts[stem.lower()] == 1 and stem.lower() not in taken else name
    return stems


def _kind(place):
    return 'video' if isinstance(place, int) or place.lower().endswith(VIDEOS) else 'image'


def _expand(argument, leave_out):
    """Files of an argument and their names."""
    if os.path.isdir(argument):
        return _folder(argument, leave_out)
    if os.path.exists(argument):
        return [(argument, os.path.basename(argument))]
    if glob.has_magic(argument):
        matches = sorted(glob.glob(argument, recursive=True))
        if not matches:
            raise InputError(f'{argument}: no file matches')
        base = os.path.dirname(argument[:next(i for i, c in enumerate(argument) if c in '*?[')])
        files = [pair for match in matches if os.path.isdir(match)
                 for pair in _folder(match, leave_out, argument)]
        files += [(match, os.path.relpath(match, base or '.')) for match in matches
                  if os.path.isfile(match)]
        return files
    raise InputError(f'{argument}: no such file or folder')


def _folder(folder, leave_out, argument=None):
    files = []
    skipped = os.path.realpath(leave_out) if leave_out else None
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith('.') and
                            os.path.realpath(os.path.join(parent, name)) != skipped)
        files += [os.path.join(parent, name) for name in sorted(names)
                  if name.lower().endswith((*IMAGES, *VIDEOS)) and not name.startswith('.')]
    if not files and argument is None:
        raise InputError(f'{folder} and its sub-folders hold no image or video; known are '
                         f'{", ".join(IMAGES + VIDEOS)}')
    return [(file, os.path.relpath(file, folder)) for file in files]


def _raise(error):
    raise InputError(f'{error.filename} cannot be read: {error.strerror}') from error


def _unique(found):
    """The names by real place, none of them twice.

    Where several files have one name, all of them get the path below their common folder.
    """
    groups = defaultdict(list)
    for real, name in found.items():
        groups[name.replace(os.sep, '/')].append(real)
    names = {}
    for name, reals in groups.items():
        common = os.path.commonpath([os.path.dirname(real) for real in reals]) \
            if len(reals) > 1 else None
        for real in reals:
            names[real] = name if common is None else Path(os.path.relpath(real, common)).as_posix()
    used: set[str] = set()
    for real, name in names.items():
        name = '/'.join(part for part in name.split('/') if part not in ('..', '.', ''))
        candidate, number = name, 1
        while candidate in used:
            number += 1
            candidate = f'{os.path.splitext(name)[0]}-{number}{os.path.splitext(name)[1]}'
        used.add(candidate)
        names[real] = candidate
    return {real: names[real] for real in found}


def frames_of(sources: Iterable[Source], on_error: Callable) -> Iterator[tuple]:
    """The images of sources, as pairs for :meth:`Predictor.stream_pairs`.

    Args:
        sources (Iterable[Source]): see :func:`find_sources`.
        on_error (Callable): gets a Frame and an InputError for a video that cannot be opened.

    Yields:
        tuple[Frame, str | ndarray]: an image file is not read here, a video's frame is.
    """
    for source in sources:
        if source.kind == 'image':
            yield Frame(source), source.place
            continue
        import cv2
        capture = cv2.VideoCapture(source.place)
        try:
            number = -1
            fps = capture.get(cv2.CAP_PROP_FPS) or 25.
            while True:
                there, pixels = capture.read()
                if not there:
                    break
                number += 1
                yield Frame(source, number, fps), pixels
            if number < 0:
                what = f'webcam {source.place}' if isinstance(source.place, int) else source.place
                on_error(Frame(source), InputError(f'{what} gives no frames'))
        finally:
            capture.release()


def count_images(sources: Iterable[Source]) -> int | None:
    """How many images the sources have, or None where that cannot be known before."""
    total = 0
    for source in sources:
        if source.kind == 'image':
            total += 1
            continue
        if isinstance(source.place, int):
            return None
        import cv2
        capture = cv2.VideoCapture(source.place)
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        if frames <= 0:
            return None
        total += frames
    return total
