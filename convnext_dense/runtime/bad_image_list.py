"""The list of bad images and annotations of a run: written by data workers, read by the run."""
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from convnext_dense.checks.image_files import MAX_PIXELS
from convnext_dense.errors import InputError
from convnext_dense.runtime.files import explain

MOST_LISTED = 50
#: what a line holds; the file may be of another run, or from elsewhere
ENTRY: dict[str, Any] = dict(file=str, problem=str, used=bool, size=(int, type(None)))


class BadImageList:
    """A file of JSON lines in the work directory.

    Data workers append to it and the main process reads it, so that nothing is lost when either
    is killed. Each line names its run: what another run found is put aside by :meth:`open` and
    decides nothing, and what the same run found before it was resumed is listed, but not counted
    again, since the images may have been mended.

    Args:
        path: the file.
        run_id: the identity of the run.
        strict: stop at the first entry.
        limit: how many images may be unusable; below 1 a part of the data set.
        max_pixels: the most pixels that an image may have.

    Raises:
        InputError: a limit is no number of its kind.
    """

    def __init__(self, path: str | Path, run_id: str = '', strict: bool = False,
                 limit: float = .1, max_pixels: int = MAX_PIXELS) -> None:
        if isinstance(max_pixels, bool) or not isinstance(max_pixels, int) or max_pixels < 1:
            raise InputError(f'bad_images.max_pixels is {max_pixels!r}; give a number of pixels')
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or limit < 0:
            raise InputError(f'bad_images.limit is {limit!r}; give a number of images, or a '
                             'part of the data set below 1')
        self.path = Path(path)
        self.run_id = run_id
        self.strict = strict
        self.limit = limit
        self.max_pixels = max_pixels
        self.entries: list[dict[str, Any]] = []  # of this start
        self._earlier: list[dict[str, Any]] = []  # of this run, before it was resumed
        self._known: set[tuple[str, str]] = set()
        self._position = 0

    def open(self, put_aside: bool = True) -> Path | None:
        """Begin: go on after what this run has written before it was resumed.

        Args:
            put_aside: rename a list of another run; one process does it, the others wait.

        Returns:
            where the list of another run lies now, or None.
        """
        entries = self._read_new()
        if all(entry.get('run') == self.run_id for entry in entries):
            self._earlier = entries
            return None
        self._position = 0
        if not put_aside:
            return None
        stamp = time.strftime('%Y%m%d_%H%M%S', time.localtime(self.path.stat().st_mtime))
        aside = self.path.with_name(f'{self.path.stem}_{stamp}{self.path.suffix}')
        os.replace(self.path, aside)
        return aside

    def add(self, file: str, problem: str, used: bool, size: int | None = None,
            detail: str | None = None) -> None:
        """Write an entry down, once.

        Args:
            file: image or label map.
            problem: what is wrong, in a few words.
            used: the image is used all the same.
            size: number of images of the data set.
            detail: a traceback.

        Raises:
            InputError: ``strict``, or the file cannot be written.
        """
        file = str(file)
        if self.strict:
            raise InputError(f'{file}: {problem}; mend or remove it, or set '
                             'bad_images.strict=False to go on without it')
        if (file, problem) in self._known:
            return
        self._known.add((file, problem))
        entry = dict(file=file, problem=problem, used=used, size=size, run=self.run_id)
        if detail:
            entry['detail'] = detail
        line = (json.dumps(entry) + '\n').encode()
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, line)  # one write: lines of several workers do not mix
            finally:
                os.close(descriptor)
        except OSError as error:  # torch hands it on from a data worker without its number
            raise InputError(str(explain(self.path, error))) from error

    def poll(self) -> None:
        """Read what the data workers wrote since the last call.

        Raises:
            InputError: more unusable images than the limit.
        """
        for entry in self._read_new():
            key = entry['file'], entry['problem']
            if not any((other['file'], other['problem']) == key for other in self.entries):
                self.entries.append(entry)
                self._known.add(key)
        self._enforce_limit()

    def _read_new(self):
        try:
            if os.stat(self.path).st_size == self._position:
                return []
            with open(self.path, 'rb') as file:
                file.seek(self._position)
                text = file.read()
        except OSError:
            return []
        text = text[:text.rfind(b'\n') + 1]
        self._position += len(text)
        return _entries(text)

    def _enforce_limit(self):
        unusable = [entry for entry in self.entries if not entry['used']]
        sizes = [entry['size'] for entry in unusable if entry['size']]
        limit = self.limit if self.limit >= 1 or not sizes else max(1, self.limit * max(sizes))
        if len({entry['file'] for entry in unusable}) > limit:
            raise InputError(
                f'{len(unusable)} images cannot be used, more than bad_images.limit='
                f'{self.limit} allows; the last is {unusable[-1]["file"]}: '
                f'{unusable[-1]["problem"]}; all are in {self.path}')

    def summary(self) -> str:
        """The list for the end of a run; an empty text where nothing was wrong.

        Raises:
            InputError: more unusable images than the limit.
        """
        self.poll()
        found = {(entry['file'], entry['problem']): entry
                 for entry in (*self._earlier, *self.entries)}
        if not found:
            return ''
        lines = [f'{len(found)} bad images or annotations, also in {self.path}:']
        lines += [f'  {file}: {problem} '
                  f'({"used all the same" if entry["used"] else "not used"})'
                  for (file, problem), entry in sorted(found.items())[:MOST_LISTED]]
        if len(found) > MOST_LISTED:
            lines.append(f'  and {len(found) - MOST_LISTED} more')
        return '\n'.join(lines)


def read_bad_images(path: str | Path, run_id: str | None = None) -> list[dict[str, Any]]:
    """The entries of a list, each once, sorted; empty where there is none.

    Args:
        path: the file.
        run_id: the identity of the run whose entries are wanted; None takes all.
    """
    try:
        text = Path(path).read_bytes()
    except OSError:
        return []
    found = {(entry['file'], entry['problem']): entry for entry in _entries(text)
             if run_id is None or entry.get('run') == run_id}
    return [found[key] for key in sorted(found)]


def _entries(text):
    """The entries of whole lines; the file may be of another run, or from elsewhere."""
    entries = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):  # cut by a power failure
            continue
        if isinstance(entry, dict) and all(isinstance(entry.get(key, entry), kind)
                                           for key, kind in ENTRY.items()):
            entries.append(entry)
    return entries


class BadImageLists:
    """The lists of a run: that of training, its validation included, and that of evaluation alone.

    Args:
        work_dir: the run's folder.
        settings: the config's ``bad_images``, see :class:`BadImageList`.
    """

    def __init__(self, work_dir: str | Path, settings: dict[str, Any] | None) -> None:
        self.work_dir = Path(work_dir)
        self.settings = dict(settings or {})
        self.lists: dict[str, BadImageList] = {}

    def of(self, loader: str, trains: bool, run_id: str) -> BadImageList:
        """The list of a data loader, opened by all processes together.

        Args:
            loader: its name in the config.
            trains: the run is a training.
            run_id: the identity of the run.
        """
        name = 'bad_images.jsonl' if loader == 'train_dataloader' or (
            loader == 'val_dataloader' and trains) else 'bad_images_test.jsonl'
        if name not in self.lists:
            bad_images = BadImageList(self.work_dir / name, run_id, **self.settings)
            aside = bad_images.open() if is_main_process() else None
            barrier()
            if not is_main_process():
                bad_images.open(put_aside=False)
            if aside:
                print_log(f'the bad images of another run are in {aside} now', 'current')
            self.lists[name] = bad_images
        return self.lists[name]

    def poll(self) -> None:
        """Read what the data workers wrote; see :meth:`BadImageList.poll`."""
        for bad_images in self.lists.values():
            bad_images.poll()

    def log(self) -> None:
        """Log what is in them, at the end of a run."""
        for bad_images in self.lists.values():
            text = bad_images.summary()
            if text:
                print_log(text, 'current', logging.WARNING)
