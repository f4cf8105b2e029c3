"""Where a path, a URL or the name of published weights leads; what is not here is fetched."""
import json
import os
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from convnext_dense.checkpoints import zoo
from convnext_dense.checkpoints.reading import fault_of
from convnext_dense.download import download, file_hash, hash_in_name, verify_file
from convnext_dense.errors import InputError
from convnext_dense.files import atomic_write

FOLDER = 'CONVNEXT_DENSE_WEIGHTS'  # environment variable: where files fetched by hand lie


def locate(source: str | Path) -> Path:
    """The file that a path, URL or name means; it is fetched where needed.

    Args:
        source (str | Path): a path, a name of :func:`zoo.entries`, a URL, or OpenMMLab's
            ``torchvision://NAME`` and ``open-mmlab://NAME``.

    Returns:
        Path: the file; a fetched one lies in torch hub's cache.

    Raises:
        InputError: an unknown name, or the download failed; the message names the file and where
            to put it.
    """
    path = Path(source).expanduser()
    if path.exists() or isinstance(source, Path):
        known = zoo.entry_of(path.name)
        if known and known.by_hand and path.is_file():
            _verify_once(path, hash_in_name(known.url))
        return path
    url = _url(source)
    if url is None:
        if path.suffix or len(path.parts) > 1:
            raise InputError(f'{source}: no such file')
        url = zoo.entry(source).url
        if zoo.entry(source).by_hand:
            return _put_by_hand(zoo.entry(source))
    _announce_licence(url)
    return _fetched(url)


def check_source(source: str) -> None:
    """Raise InputError for a path that does not exist or an unknown name; nothing is fetched."""
    path = Path(source).expanduser()
    if path.exists() or _url(source) is not None:
        return
    if path.suffix or len(path.parts) > 1:
        raise InputError(f'{source}: no such file')
    zoo.entry(source)


def find(wanted: zoo.Entry) -> Path | None:
    """The file of published weights on this machine, unchecked, or None where it is not here.

    Args:
        wanted (zoo.Entry): the weights.
    """
    folders = [Path(os.environ[FOLDER]).expanduser()] if (
        wanted.by_hand and os.environ.get(FOLDER)) else []
    return next((folder / zoo.cache_name(wanted.url) for folder in (*folders, cache_folder())
                 if (folder / zoo.cache_name(wanted.url)).is_file()), None)


def _put_by_hand(wanted):
    """A file that the user fetched after accepting its licence; its hash is checked."""
    path = find(wanted)
    if path:
        _verify_once(path, hash_in_name(wanted.url))
        return path
    raise InputError(f'{wanted.name}: {wanted.url} is given to whoever accepts its licence '
                     f'({wanted.licence}) at {wanted.by_hand}; fetch it there, and name its path, '
                     f'or set {FOLDER} to its folder')


@cache  # once a process: reading takes seconds
def _verify_once(path, sha256):
    verify_file(path, sha256=sha256)


def _fetched(url):
    """The file of a URL in the cache; fetched, verified and its hash pinned the first time."""
    target = cache_folder() / zoo.cache_name(url)
    sha256 = hash_in_name(target.name)
    pin = target.with_name(target.name + '.json')
    kept = _read_pin(pin)
    if target.exists():
        if kept and target.stat().st_size != kept['size']:
            raise InputError(f'{target} has {target.stat().st_size} bytes, but {kept["size"]} when '
                             'it was fetched; delete it to fetch it again')
        return target
    target = download(url, target, size=kept and kept['size'],
                      sha256=kept['sha256'] if kept else sha256, check=fault_of)
    if not kept:
        text = json.dumps(dict(url=url, size=target.stat().st_size, sha256=file_hash(target)))
        with atomic_write(pin) as partial:
            partial.write_text(text)
    return target


def _read_pin(path):
    try:
        pin = json.loads(path.read_text())
        return dict(size=int(pin['size']), sha256=str(pin['sha256']))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise InputError(f'{path} is damaged; delete it, and the file that it belongs to') from None


def cache_folder() -> Path:
    """Where fetched weights lie: ``checkpoints`` in torch hub's folder."""
    import torch
    return Path(torch.hub.get_dir()) / 'checkpoints'


def _url(source):
    scheme, _, name = source.partition('://')
    if scheme in ('http', 'https', 'file'):
        return source
    tables = {'torchvision': 'torchvision_0.12.json', 'open-mmlab': 'openmmlab.json',
              'openmmlab': 'openmmlab.json'}
    if scheme not in tables or not name:
        return None
    import mmengine
    known = json.loads((Path(mmengine.__file__).parent / 'hub' / tables[scheme]).read_text())
    if name not in known:
        raise InputError(f'{source}: mmengine knows no such weights; similar: '
                         f'{", ".join(get_close_matches(name, known)) or "none"}')
    return known[name]


@cache  # once a process
def _announce_licence(url):
    licence = next((entry.licence for entry in zoo.entries().values() if entry.url == url), None)
    if zoo.forbids_commerce(licence):
        import logging

        from mmengine.logging import print_log
        print_log(f'{Path(url).name}: these weights are licensed {licence}: no commercial use',
                  logger='current', level=logging.WARNING)
