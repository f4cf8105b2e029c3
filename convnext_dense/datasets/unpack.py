"""Unpacking zip archives from the network: nothing outside the folder, nothing half written."""
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from convnext_dense.errors import InputError
from convnext_dense.files import atomic_write

#: how many times larger than its archive the content may be: images hardly shrink, label maps and
#: annotations by 5 to 30
MOST_EXPANSION = 200
HARMLESS = 10**8  # bytes, which are unpacked whatever the archive's size


def unpack(archive: str | Path, root: str | Path, members: Sequence[str] = ('', ), strip: str = '',
           progress: bool = True) -> int:
    """Unpack a zip file below ``root``.

    A member is written to a temporary name, its checksum is compared, and then it gets its name;
    members that are there already in the right size are left alone. So a run that was
    interrupted goes on where it was.

    Args:
        archive (str | Path): the zip file.
        root (str | Path): the folder; it is made.
        members (Sequence[str]): beginnings of the names to unpack, after ``strip``.
        strip (str): folder in the archive that becomes ``root``; members outside it are left out.
        progress (bool): show a progress bar on stderr.

    Returns:
        int: number of files written.

    Raises:
        InputError: a damaged or encrypted archive, a member that would land outside ``root`` or
            is a link, content that is absurdly larger than the archive, or too little space.
    """
    archive, root = Path(archive), Path(root)
    try:
        with zipfile.ZipFile(archive) as content:
            _check_size(archive, sum(info.file_size for info in content.infolist()))
            wanted = []
            for info in content.infolist():
                name = member_path(archive, info, strip)
                if name and name.startswith(tuple(members)) and not _is_there(root / name, info):
                    wanted.append((info, root / name))
            _check_space(archive, root, sum(info.file_size for info, _ in wanted))
            for info, target in _with_progress(wanted, archive.name, progress):
                _write(content, info, target)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise InputError(f'{archive} is damaged: {error}; delete it and fetch it again') from error
    except OSError as error:
        raise InputError(f'unpacking {archive} to {root}: {error}') from error
    return len(wanted)


def member_path(archive: str | Path, info: zipfile.ZipInfo, strip: str = '') -> str | None:
    """Where a member goes, relative to the folder.

    Args:
        archive (str | Path): named in the error.
        info (zipfile.ZipInfo): the member.
        strip (str): leading folder to remove.

    Returns:
        str | None: None for folders and for members outside ``strip``.

    Raises:
        InputError: an absolute path, one that climbs out with ``..``, a link, or encrypted.
    """
    name = info.filename.replace('\\', '/')
    path = PurePosixPath(name)
    if path.is_absolute() or '..' in path.parts or ':' in name.split('/')[0]:
        raise InputError(f'{archive}: the member {info.filename!r} would land outside the folder; '
                         'this is not the published archive')
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InputError(f'{archive}: the member {info.filename!r} is a link; this is not the '
                         'published archive')
    if info.flag_bits & 1:
        raise InputError(f'{archive}: the member {info.filename!r} is encrypted; unpack it by hand')
    if info.is_dir() or not name.startswith(strip):
        return None
    name = name[len(strip):]
    if name.startswith('/'):  # strip='ADE/' of 'ADE//etc/x'
        raise InputError(f'{archive}: the member {info.filename!r} would land outside the folder; '
                         'this is not the published archive')
    return name or None


def _is_there(target, info):
    try:
        return target.stat().st_size == info.file_size
    except OSError:
        return False


def _check_size(archive, needed):
    size = archive.stat().st_size
    if needed > max(MOST_EXPANSION * size, HARMLESS):
        raise InputError(f'{archive} has {size / 1e6:.1f} MB and would unpack to '
                         f'{needed / 1e6:.1f} MB, more than {MOST_EXPANSION} times as much; this '
                         'is not the published archive')


def _check_space(archive, root, needed):
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if needed > free:
        raise InputError(f'unpacking {archive.name} needs {needed / 1e9:.1f} GB, but {root} has '
                         f'{free / 1e9:.1f} GB free')


def _write(content, info, target):
    with atomic_write(target) as partial, content.open(info) as source, \
            open(partial, 'wb') as file:
        shutil.copyfileobj(source, file, 1 << 20)  # raises where the checksum differs


def _with_progress(items, name, progress):
    if not progress or not items:
        return items
    from tqdm import tqdm
    return tqdm(items, desc=f'unpack {name}', unit='file', mininterval=.5)
