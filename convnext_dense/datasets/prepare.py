"""Fetching and verifying a benchmark data set."""
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from convnext_dense.datasets.benchmarks import Archive, Benchmark, Folder
from convnext_dense.datasets.unpack import unpack
from convnext_dense.download import download, verify_file


def prepare(benchmark: Benchmark, root: str | Path, splits: Sequence[str] = ('train', 'val'),
            archives: str | Path | None = None, mirror: str | None = None, keep: bool = False,
            progress: bool = True, say: Callable[[str], object] = print) -> list[str]:
    """Bring a benchmark data set into the folder ``root``; what is there already stays.

    Args:
        benchmark (Benchmark): what to fetch.
        root (str | Path): the data root.
        splits (Sequence[str]): ``train``, ``val`` or both.
        archives (str | Path, optional): folder for the archives. Those that are there already
            are verified and used, and all stay. Without it they are in ``<root>/archives``, and
            each is deleted once it is unpacked.
        mirror (str, optional): URL of a folder that holds the archives under their own names.
        keep (bool): keep the archives in ``<root>/archives`` too.
        progress (bool): show progress bars on stderr.
        say (callable): takes one line of text for each step.

    Returns:
        list[str]: what :func:`problems` still finds; empty when the data set is whole.

    Raises:
        InputError: from the download or the unpacking.
    """
    root, keep = Path(root), keep or archives is not None
    archives = Path(archives or root / 'archives')
    for archive in needed_archives(benchmark, root, splits):
        path = archives / archive.name
        there = path.exists()
        url = f'{mirror.rstrip("/")}/{archive.name}' if mirror else archive.url
        say(f'{archive.name}: {f"verifying {path}" if there else f"fetching from {url}"}')
        if there:
            verify_file(path, archive.size, md5=archive.md5, progress=progress)
        else:
            download(url, path, archive.size, md5=archive.md5, progress=progress)
        count = unpack(path, root, archive.members, archive.strip, progress)
        say(f'{archive.name}: {count} files unpacked below {root}')
        if not keep:
            path.unlink()
            _remove_if_empty(archives)
    return problems(benchmark, root, splits)


def needed_archives(benchmark: Benchmark, root: str | Path,
                    splits: Sequence[str] = ('train', 'val')) -> list[Archive]:
    """The archives whose files are not all there: found by counting, in a second."""
    incomplete = {folder.split for folder in benchmark.folders
                  if folder.split in splits and count_problems(folder, Path(root))}
    return [archive for archive in benchmark.archives
            if incomplete & set(archive.splits) and not _unpacked(benchmark, archive, root)]


def problems(benchmark: Benchmark, root: str | Path, splits: Sequence[str] = ('train', 'val'),
             deep: bool = False) -> list[str]:
    """What keeps a data set from being whole.

    Args:
        benchmark (Benchmark): what should be there.
        root (str | Path): the data root.
        splits (Sequence[str]): ``train``, ``val`` or both.
        deep (bool): also read the annotation files, match every file with its partner and look
            for empty files; else files are only counted.

    Returns:
        list[str]: one line a problem.
    """
    root = Path(root)
    found = []
    for folder in benchmark.folders:
        if folder.split in splits:
            found += count_problems(folder, root)
            if deep:
                found += _content_problems(folder, root)
    return found


def count_problems(folder: Folder, root: str | Path) -> list[str]:
    """Files that are missing from one folder of the data set, and beside it, by number."""
    root = Path(root)
    found = _wrong_count(root / folder.path, folder.suffix, folder.number)
    if folder.annotations and not (root / folder.annotations).is_file():
        found.append(f'{root / folder.annotations} is missing')
    if folder.partner:
        partner, suffix = folder.partner.split('/*')
        found += _wrong_count(root / partner, suffix, folder.number)
    return found


def _unpacked(benchmark, archive, root):
    """Whether every folder and annotation file that comes from this archive is complete."""
    own = [folder for folder in benchmark.folders
           if any((folder.path + '/').startswith(member) for member in archive.members)]
    if own:
        return not any(count_problems(folder._replace(annotations=None), Path(root))
                       for folder in own)
    return all((Path(root) / folder.annotations).is_file() for folder in benchmark.folders
               if folder.annotations)


def _files(folder, suffix):
    """Names and sizes of the files with a suffix."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.name.endswith(suffix)]
    except OSError:
        return []


def _wrong_count(folder, suffix, count):
    found = len(_files(folder, suffix))
    if found == count:
        return []
    return [f'{folder} has {found} files *{suffix}, expected {count}']


def _content_problems(folder, root):
    entries = _files(root / folder.path, folder.suffix)
    found = [f'{entry.path} is empty' for entry in entries if not entry.stat().st_size]
    names = {entry.name for entry in entries}
    if folder.partner:
        partner, suffix = folder.partner.split('/*')
        stems = {Path(name).stem for name in names}
        partners = _files(root / partner, suffix)
        found += [f'{entry.path} is empty' for entry in partners if not entry.stat().st_size]
        lonely = sorted(stems ^ {Path(entry.name).stem for entry in partners})
        if lonely:
            found.append(f'{root / folder.path} and {root / partner} do not match: '
                         f'{len(lonely)} without partner, the first is {lonely[0]}')
    if folder.annotations and (root / folder.annotations).is_file():
        found += _annotation_problems(root / folder.annotations, folder, names)
    return found


def _annotation_problems(path, folder, names):
    from convnext_dense.datasets.coco_file import read_coco
    from convnext_dense.errors import InputError
    try:
        content = read_coco(str(path), folder.path, masks=False)
    except InputError as error:
        return [str(error)]
    listed = {name for name in content.file_names if name}
    found = []
    if len(listed) != folder.number:
        found.append(f'{path} lists {len(listed)} images, expected {folder.number}')
    if listed - names:
        found.append(f'{folder.path}: {len(listed - names)} images that {path} lists are '
                     f'missing, the first is {min(listed - names)}')
    return found


def _remove_if_empty(folder):
    try:
        folder.rmdir()
    except OSError:
        pass
