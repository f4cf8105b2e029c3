"""Fetching a file: resumed, verified, and under its name only when it is whole.

The one downloader of the toolkit: data sets and published weights both come through it.

Longer than 300 lines: every line serves one transfer, which resumes, waits and verifies.
"""
import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from convnext_dense.errors import InputError

CHUNK = 1 << 20
LARGE = 1 << 30  # bytes; reading more takes seconds
TIMEOUT = 60  # seconds without a byte
ATTEMPTS = 4  # in a row that bring nothing new
BROKEN = (http.client.HTTPException, OSError)  # OSError covers URLError, timeouts and resets


def download(url: str, target: str | Path, size: int | None = None, sha256: str | None = None,
             md5: str | None = None, progress: bool = True, retry_delay: float = 1.,
             check: Callable[[Path], str | None] | None = None) -> Path:
    """Fetch ``url`` into the file ``target``.

    The bytes go to ``<target>.part`` first. A broken connection, or a run that was killed, goes
    on from there (HTTP Range, guarded by If-Range where the server names a version), and the
    file gets its name only when it is whole and verified. So an existing ``target`` of the right
    size is taken as it is, without reading it (:func:`verify_file` reads it). Processes that
    fetch the same file at once wait for one another.

    Args:
        url (str): http, https or file URL.
        target (str | Path): the file to write; its folder is made.
        size (int, optional): published size in bytes.
        sha256, md5 (str, optional): published hash, in hexadecimal; a prefix of at least 8
            characters is enough, such as the one in a torch hub file name (:func:`hash_in_name`).
        progress (bool): show a progress bar on stderr.
        retry_delay (float): seconds before the first new attempt; doubled for each further one.
        check (Callable, optional): takes the path of the whole file and says in one line what is
            wrong with its content, or None. For files whose size and hash are not published.

    Returns:
        Path: ``target``.

    Raises:
        InputError: offline, 404, too little space, wrong size or wrong hash. The message names
            the URL and where to put the file by hand.
    """
    target = Path(target)
    if target.exists():
        _check_size(target, target.stat().st_size, size)
        return target
    with contextlib.ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = stack.enter_context(open(_part(target), 'ab'))
        except OSError as error:
            raise InputError(f'cannot write {target}: {error.strerror}; '
                             'choose another folder') from error
        _wait_for_others(part)
        if target.exists():  # another process has just finished it
            if not os.fstat(part.fileno()).st_size:
                _part(target).unlink(missing_ok=True)
            return target
        resumed = part.tell() > 0
        # two halves of two versions of a file must not become one file
        resumable = bool(size and sha256 or md5 or sha256 or check)
        try:
            _fetch(url, target, part, size, progress, retry_delay, resumable)
            _verify(part, target, url, size, sha256, md5, progress, check)
        except _WrongBytes as error:
            part.truncate(0)  # not deleted: a waiting process may hold it open
            if not resumed:
                raise InputError(str(error)) from None
            # the older part may be what was wrong: once more from the start
            try:
                _fetch(url, target, part, size, progress, retry_delay, resumable)
                _verify(part, target, url, size, sha256, md5, progress, check)
            except _WrongBytes as again:
                part.truncate(0)
                raise InputError(str(again)) from None
        os.fsync(part.fileno())
        os.replace(_part(target), target)
        _tag(target).unlink(missing_ok=True)
    return target


def verify_file(path: str | Path, size: int | None = None, sha256: str | None = None,
                md5: str | None = None, progress: bool = True) -> None:
    """Read a whole file and compare it with its published size and hash.

    Args:
        path (str | Path): the file.
        size, sha256, md5, progress: as in :func:`download`.

    Raises:
        InputError: it is missing, or differs.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f'{path}: no such file')
    _check_size(path, path.stat().st_size, size)
    for name, expected in (('sha256', sha256), ('md5', md5)):
        digest = file_hash(path, name, progress) if expected else ''
        if expected and not digest.startswith(expected.lower()):
            raise InputError(f'{path}: its {name} is {digest}, expected {expected}; delete it '
                             'and fetch it again')


def file_hash(path: str | Path, name: str = 'sha256', progress: bool = False) -> str:
    """Hexadecimal hash of a file, read in pieces; a large file can show a progress bar."""
    path = Path(path)
    digest, size = hashlib.new(name), path.stat().st_size
    with open(path, 'rb') as file, _progress_bar(f'verify {path.name}', 0, size,
                                                 progress and size > LARGE) as advance:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def hash_in_name(name: str) -> str | None:
    """The sha256 prefix that torch hub and OpenMMLab put at the end of a name, or None.

    Eight digits that are a date are no hash.

    >>> hash_in_name('upernet_convnext_20220227-02a24fc6.pth')
    '02a24fc6'
    >>> hash_in_name('upernet-20220227.pth')
    """
    found = re.search(r'-([0-9a-f]{8,64})\.[a-z.]+$', name)
    if not found or re.fullmatch(r'(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])', found[1]):
        return None
    return found[1]


class _WrongBytes(Exception):
    """The file is whole, but it is not the published one."""


def _part(target):
    return target.with_name(target.name + '.part')


def _tag(target):
    return target.with_name(target.name + '.part.version')


def _by_hand(url, target):
    return f'fetch {url} by other means and put it at {target}'


def _wait_for_others(part):
    """Lock the unfinished file until it is closed, where the system and file system can."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl
        fcntl.flock(part, fcntl.LOCK_EX)
    part.seek(0, os.SEEK_END)


def _check_size(path, found, size):
    if size is not None and found != size:
        raise InputError(f'{path} has {found} bytes, expected {size}; delete it to fetch it again')


def _fetch(url, target, part, size, progress, retry_delay, resumable):
    """Bring ``part`` to the whole file; new attempts as long as they can help."""
    failures, delay, most = 0, retry_delay, os.fstat(part.fileno()).st_size
    while size is None or os.fstat(part.fileno()).st_size < size:
        before = os.fstat(part.fileno()).st_size
        try:
            _fetch_rest(url, target, part, size, progress, resumable)
            return
        except urllib.error.HTTPError as error:
            reason = f'the server answered {error.code} {_first_line(error.reason)}'
            if error.code == 416 and before:  # the part is longer than the file
                part.truncate(0)
            elif error.code < 500 and error.code != 429:
                raise InputError(f'{reason} for {url}; {_by_hand(url, target)}') from error
        except BROKEN as error:
            error = getattr(error, 'reason', error)
            reason = _first_line(error)
            if isinstance(error, socket.gaierror):
                raise InputError(f'no way to {url} ({reason}): is this machine offline? '
                                 f'{_by_hand(url, target)}') from error
        except ValueError as error:  # no URL at all
            raise InputError(f'{url}: {_first_line(error)}; give an http, https or file '
                             'URL') from error
        got = os.fstat(part.fileno()).st_size
        if got > most:  # not only more than before: an attempt may have thrown a part away
            failures, delay, most = 0, retry_delay, got
        failures += 1
        if failures >= ATTEMPTS:
            kept = f' ({got} bytes are kept; run again to go on)' if got else ''
            raise InputError(f'gave up on {url}: {reason}{kept}; {_by_hand(url, target)}')
        time.sleep(delay)
        delay *= 2


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _fetch_rest(url, target, part, size, progress, resumable):
    """One connection: append what is missing to ``part``."""
    version, whole = _read_tag(target)
    if not version and not resumable:
        part.truncate(0)  # nothing would tell whether the file has changed meanwhile
    offset = os.fstat(part.fileno()).st_size
    request = urllib.request.Request(url, headers={'User-Agent': 'convnext_dense'})
    if offset:
        request.add_header('Range', f'bytes={offset}-')
        if version:
            request.add_header('If-Range', version)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        given = _version(response)
        total = _total(response, offset)
        if response.status == 206 and offset and (
                version and given != version or None not in (whole, total) and whole != total):
            part.truncate(0)
            raise http.client.HTTPException('the file has changed since its first part was fetched')
        if offset and response.status != 206:
            part.truncate(0)  # the server starts over, or the file has changed
            offset = 0
        _check_space(target, (total or size or 0) - offset)
        _write_tag(target, given, total)
        try:
            with _progress_bar(target.name, offset, total or size, progress) as advance:
                # read1 gives what has arrived: a killed process loses nothing
                while chunk := response.read1(CHUNK):
                    part.write(chunk)
                    advance(len(chunk))
                    if size is not None and part.tell() > size:
                        break  # too long already: no need for the rest of it
        finally:
            part.flush()  # what has arrived counts, whatever happened to the connection
        if total is not None and part.tell() < total:  # http.client ends a short body silently
            raise http.client.HTTPException(
                f'the connection ended after {part.tell()} of {total} bytes')
        if not part.tell():
            raise http.client.HTTPException('the answer is empty')


def _total(response, offset):
    """Bytes of the whole file as the answer's headers give them, or None.

    Raises:
        HTTPException: another status than asked for, another range, or a malformed length.
    """
    if response.status == 206:
        found = re.fullmatch(r'bytes (\d+)-(\d+)/(\d+|\*)',
                             (response.headers.get('Content-Range') or '').strip())
        if not found or int(found[1]) != offset or found[3] != '*' and (
                int(found[2]) + 1 != int(found[3])):
            raise http.client.HTTPException('the server sent another range than asked')
        return int(found[2]) + 1
    if getattr(response, 'status', None) not in (200, None):  # file URLs have none
        raise http.client.HTTPException(f'the server answered {response.status}, without the file')
    length = response.headers.get('Content-Length')
    if length is None:
        return None
    if not re.fullmatch(r'\d{1,18}', length.strip()):
        raise http.client.HTTPException(f'the server gave the malformed length {length[:40]!r}')
    return int(length)


def _version(response):
    """What the server calls this version of the file, where that can be compared, or None."""
    version = response.headers.get('ETag') or response.headers.get('Last-Modified')
    return version if version and not version.startswith('W/') else None


def _read_tag(target):
    """Version and size of the file whose first part was fetched, each None where not known."""
    try:
        kept = json.loads(_tag(target).read_text())
        version, total = kept['version'], kept['total']
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None, None
    return version if isinstance(version, str) else None, total if type(total) is int else None


def _write_tag(target, version, total):
    _tag(target).write_text(json.dumps(dict(version=version, total=total)))


def _check_space(target, needed):
    free = shutil.disk_usage(target.parent).free
    if needed and needed > free:
        raise InputError(f'{target.name} needs {needed / 1e9:.1f} GB, but {target.parent} has '
                         f'{free / 1e9:.1f} GB free; choose another folder')


@contextlib.contextmanager
def _progress_bar(name, offset, total, progress):
    if not progress:
        yield lambda count: None
        return
    from tqdm import tqdm
    with tqdm(desc=name, initial=offset, total=total, unit='B', unit_scale=True,
              mininterval=.5) as bar:
        yield bar.update


def _verify(part, target, url, size, sha256, md5, progress, check):
    part.flush()
    found = os.fstat(part.fileno()).st_size
    if size is not None and found != size:
        raise _WrongBytes(f'{url} has {found} bytes, expected {size}; {_by_hand(url, target)}')
    for name, expected in (('sha256', sha256), ('md5', md5)):
        if not expected:
            continue
        if len(expected) < 8:
            raise ValueError(f'{name} prefix {expected!r} is too short to verify anything')
        digest = file_hash(_part(target), name, progress)
        if not digest.startswith(expected.lower()):
            raise _WrongBytes(f'{url}: its {name} is {digest}, expected {expected}; the file was '
                              f'changed or damaged on the way; {_by_hand(url, target)}')
    fault = check and check(_part(target))
    if fault:
        raise _WrongBytes(f'{url}: {fault}; it was damaged on the way; {_by_hand(url, target)}')
