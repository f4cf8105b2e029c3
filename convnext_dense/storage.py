"""Files of object stores, web servers and archives as mmengine's file backend ``fsspec``.

``backend_args=dict(backend='fsspec', ...)`` in a data set, its loading steps and its metric. fsspec
knows the store by the path's protocol (``s3://``, ``gs://``, ``https://``); the package of a store,
such as s3fs, is installed by the user.
"""
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.fileio import BaseStorageBackend

from convnext_dense.errors import InputError
from convnext_dense.file_cache import FileCache

GB = 1e9
ATTEMPTS, PAUSE = 3, .5  # of a fetch that fails for a moment, and seconds, doubled each time
#: what another attempt does not change
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


class FsspecBackend(BaseStorageBackend):
    """Reads files through fsspec.

    Args:
        cache (str, optional): folder on this machine that keeps what was fetched; by default
            nothing is kept.
        cache_gb (float): its most size in 10^9 bytes.
        archive (str, optional): a zip file, on this machine or in a store, whose members are the
            files; for file systems that dislike many small ones.
        root (str): what paths begin with that are members of the archive, such as the data root.
        options (dict, optional): of the store's file system in fsspec, such as ``anon=True``.

    Raises:
        InputError: settings that cannot be used.
    """

    def __init__(self, cache: str | None = None, cache_gb: float = 50., archive: str | None = None,
                 root: str = '', options: dict | None = None) -> None:
        if isinstance(cache_gb, bool) or not isinstance(cache_gb, (int, float)) or not cache_gb > 0:
            raise InputError(f'backend_args.cache_gb={cache_gb!r}; give a number above 0')
        self.cache = FileCache(cache, cache_gb * GB) if cache else None
        self.archive, self.root = archive, root
        self.options = dict(options or {})
        self._systems: dict[tuple[int, str], Any] = {}

    def get(self, filepath: str | Path) -> bytes:
        """The content of a file.

        Raises:
            OSError: there is none, or the store does not answer.
            InputError: no such store, or its package is not installed.
        """
        name = str(filepath)
        if self.cache is None:
            return self._fetch(name)
        key = f'{self.archive}::{name}' if self.archive else name
        return self.cache.get(key, lambda: self._fetch(name))

    def get_text(self, filepath: str | Path, encoding: str = 'utf-8') -> str:
        """The content of a text file."""
        return self.get(filepath).decode(encoding)

    @contextmanager
    def get_local_path(self, filepath: str | Path) -> Iterator[str]:
        """A path of this machine with a file's content, for the time of a ``with``."""
        with tempfile.TemporaryDirectory(prefix='convnext_dense_') as folder:
            path = Path(folder, os.path.basename(str(filepath)) or 'file')
            path.write_bytes(self.get(filepath))
            yield str(path)

    def exists(self, filepath: str | Path) -> bool:
        """Whether there is such a file or folder."""
        system, path = self._locate(str(filepath))
        return bool(system.exists(path))

    def isdir(self, filepath: str | Path) -> bool:
        """Whether it is a folder."""
        system, path = self._locate(str(filepath))
        return bool(system.isdir(path))

    def isfile(self, filepath: str | Path) -> bool:
        """Whether it is a file."""
        system, path = self._locate(str(filepath))
        return bool(system.isfile(path))

    def join_path(self, filepath: str | Path, *filepaths: str | Path) -> str:
        """A path from its parts."""
        return '/'.join([str(filepath).rstrip('/'), *map(str, filepaths)])

    def list_dir_or_file(self, dir_path: str | Path, list_dir: bool = True, list_file: bool = True,
                         suffix: str | tuple[str, ...] | None = None, recursive: bool = False
                         ) -> Iterator[str]:
        """Names below a folder, relative to it; hidden ones are left out. See mmengine."""
        import fsspec
        system, path = self._locate(str(dir_path))
        inside = path if self.archive else fsspec.core.url_to_fs(path, **self.options)[1]
        inside = inside.strip('/') + '/'
        depth = None if recursive else 1
        for name, info in sorted(system.find(path, maxdepth=depth, withdirs=True,
                                             detail=True).items()):
            relative = f'{name.strip("/")}/'.removeprefix(inside).strip('/')
            folder = info['type'] == 'directory'
            if not relative or relative.rpartition('/')[2].startswith('.') or \
                    not (list_dir if folder else list_file) or \
                    not folder and suffix is not None and not relative.endswith(suffix):
                continue
            yield relative

    def _fetch(self, name):
        for attempt in range(ATTEMPTS):
            system, path = self._locate(name)
            try:
                return system.cat_file(path)
            except FINAL:
                raise
            except KeyError as error:  # of an archive without it
                raise FileNotFoundError(f'{name} is not in {self.archive}') from error
            except Exception as error:
                if attempt == ATTEMPTS - 1:
                    raise OSError(f'{name} cannot be read: {error}') from error
            time.sleep(PAUSE * 2**attempt)
        raise AssertionError

    def _locate(self, name):
        """The file system of a path, and the path as it takes it."""
        if self.archive is None:
            return self._system(name.partition('://')[0] if '://' in name else 'file',
                                **self.options), name
        if not name.startswith(self.root):
            raise InputError(f'{name} does not begin with backend_args.root={self.root!r}, below '
                             f'which the files of {self.archive} are')
        options = dict(remote_options=self.options) if self.options else {}
        return self._system('zip', fo=self.archive, **options), name[len(self.root):].lstrip('/')

    def _system(self, protocol, **options):
        """A file system of this process: connections and open archives do not survive a fork."""
        import fsspec
        key = os.getpid(), protocol
        if key not in self._systems:
            try:
                self._systems[key] = fsspec.filesystem(protocol, skip_instance_cache=True,
                                                       **options)
            except (ValueError, ImportError) as error:
                raise InputError(f'files of {protocol}:// cannot be read: {error}') from error
            except Exception as error:
                raise InputError(f'backend_args.archive={self.archive!r} cannot be read as a zip '
                                 f'file: {error}' if self.archive else
                                 f'{protocol}:// cannot be opened: {error}') from error
        return self._systems[key]


def with_whole_paths(cfg: dict) -> dict:
    """A data set's settings without a root that lies in a store, which mmengine cannot join.

    Args:
        cfg (dict): of the data set, or of one that holds others; it is not changed.
    """
    if isinstance(cfg.get('dataset'), dict):
        cfg = dict(cfg, dataset=with_whole_paths(cfg['dataset']))
    if isinstance(cfg.get('datasets'), (list, tuple)):
        cfg = dict(cfg, datasets=[with_whole_paths(child) if isinstance(child, dict) else child
                                  for child in cfg['datasets']])
    root = cfg.get('data_root') or ''
    if '://' not in root:
        return cfg

    def joined(path):
        whole = '://' in path or os.path.isabs(path)
        return path if whole else f'{root.rstrip("/")}/{path}'
    whole = dict(cfg, data_root=None, data_prefix={
        key: joined(path) for key, path in (cfg.get('data_prefix') or {}).items()})
    if cfg.get('ann_file'):
        whole['ann_file'] = joined(cfg['ann_file'])
    return whole
