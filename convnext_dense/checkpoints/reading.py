"""Reading a checkpoint without running anything that it holds.

A pickle can call any function of the machine when it is read. Here a file is read with torch's
``weights_only`` reader, which knows tensors and containers, or as safetensors; what OpenMMLab's
own checkpoints hold besides is allowed by name, class by class.
"""
import contextlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import torch

from convnext_dense.checkpoints import archive, pickle_rules, rebuilders, sharded
from convnext_dense.command_names import typed
from convnext_dense.errors import InputError, convert_errors

ZIP, PICKLE = b'PK\x03\x04', b'\x80'
# torch.save before 1.6: a number that marks such files, its version, the machine's sizes, what was
# saved, and the order of the tensors
LEGACY_PICKLES = 5


def read_checkpoint(path: str | Path, map_location: str | torch.device = 'cpu', mmap: bool = True,
                    trust_pickle: bool = False, checksums: bool = True) -> dict[str, Any]:
    """Read a checkpoint file; nothing in it is run.

    Args:
        path (str | Path): a .pth, .pt, .bin or .safetensors file, the ``.index.json`` of several
            such files, or the folder of either as transformers writes it. For the name of
            published weights, or a URL, see :func:`convnext_dense.checkpoints.fetching.locate`.
        map_location: device of the tensors, as in ``torch.load``.
        mmap (bool): leave the tensors in the file until they are used. They stay tied to the
            file, which must not be rewritten in place meanwhile.
        trust_pickle (bool): run whatever code the file holds. Only for files that you made.
        checksums (bool): read the whole file once and compare it with the CRC-32 of its records,
            where it has them (files of torch >= 1.6).

    Returns:
        dict: what was saved. A safetensors file gives ``dict(state_dict=..., meta=...)``.

    Raises:
        InputError: no such file, a torn or foreign file, or one that holds more than weights;
            the message names the globals that it wanted.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        path = sharded.find_weights(path)
    if path.name.endswith(sharded.INDEX):
        with convert_errors(f'{path} and its files cannot be read', 'fetch them again'):
            return _read_shards(path, map_location, mmap, trust_pickle, checksums)
    kind = sniff(path)
    if kind == 'safetensors':
        return _read_safetensors(path, map_location)
    if trust_pickle:
        warnings.warn(f'{path} IS READ WITH FULL UNPICKLING: it can run any code on this machine',
                      stacklevel=2)
        checkpoint = torch.load(path, map_location=map_location, weights_only=False)
    else:
        checkpoint = _read_pickle(path, map_location, mmap and kind == 'zip', checksums)
    if not isinstance(checkpoint, dict):
        raise InputError(f'{path} holds a {type(checkpoint).__name__}, expected a dict of tensors '
                         'or a checkpoint; save model.state_dict() instead')
    return checkpoint


def _read_shards(path, *options):
    """All tensors of an index's files; a missing or an extra one is an error."""
    state: dict = {}
    meta: dict = {}
    for name, keys in sharded.read_index(path).items():
        checkpoint = read_checkpoint(path.parent / name, *options)
        tensors = checkpoint.get('state_dict', checkpoint)
        if not isinstance(tensors, dict) or set(tensors) != set(keys):
            other = sorted(map(str, set(tensors) ^ set(keys)))[:3]
            raise InputError(f'{path.parent / name} and the index {path.name} disagree on '
                             f'{", ".join(other)}; fetch both again')
        state.update(tensors)
        meta.update(checkpoint.get('meta') or {})
    return dict(state_dict=state, meta=meta)


def is_whole(path: str | Path) -> bool:
    """Whether a checkpoint of either of torch's formats, or of safetensors, is complete.

    Archives are compared with their checksums; the others have none: every tensor must be there.
    """
    return fault_of(path) is None


def fault_of(path: str | Path) -> str | None:
    """What is wrong with the bytes of a checkpoint file, in one line, or None.

    A file that wants more than a checkpoint needs may be whole all the same; reading refuses it.
    """
    try:
        if sniff(path) == 'zip':
            archive.check_crc(path, archive.records(path))
        elif not wanted_globals(path):
            read_checkpoint(path)
    except (InputError, archive.Damaged, OSError) as error:
        return _first_line(error)
    return None


def sniff(path: str | Path) -> str:
    """What a file is by its first bytes: ``zip``, ``pickle`` or ``safetensors``.

    Raises:
        InputError: no such file, an empty one, or none of the three.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f'{path}: no such file' if not path.is_dir() else
                         f'{path} is a folder, expected a checkpoint file')
    size = path.stat().st_size
    with open(path, 'rb') as file:
        head = file.read(16)
    if size < 16:
        raise InputError(f'{path} has {size} bytes, which is no checkpoint; it is torn: fetch or '
                         'write it again')
    if head.startswith(ZIP):
        return 'zip'
    if head.startswith(PICKLE):
        return 'pickle'
    if head[8:9] == b'{' and int.from_bytes(head[:8], 'little') < 100_000_000:
        return 'safetensors'
    hint = ' (a web page?)' if head.lstrip().startswith(b'<') else ''
    raise InputError(f'{path} is no checkpoint{hint}: it starts with {head[:8]!r}, expected '
                     'a file of torch.save or safetensors')


def _read_pickle(path, map_location, mmap, checksums):
    """Read a file of torch.save whose pickles ask for nothing but what a checkpoint needs."""
    try:
        names = wanted_globals(path)
        if names:
            raise InputError(_refusal(path, names))
        _check(path, checksums)
        with torch.serialization.safe_globals(rebuilders.ALLOWED):
            read = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
        return rebuilders.plain(read)
    except (InputError, MemoryError):
        raise
    except pickle_rules.Forbidden as error:
        raise InputError(f'{path} is refused: {error}; no checkpoint needs that: fetch it from '
                         'whoever made it') from None
    except Exception as error:  # a torn or hostile file can raise anything
        raise InputError(f'{path} cannot be read: {_first_line(error)}; it is torn, damaged or no '
                         'checkpoint: fetch or write it again') from None


def _check(path, checksums):
    """Look at a file's records and pickles before torch does."""
    size = Path(path).stat().st_size
    if sniff(path) == 'zip':
        records = archive.records(path)
        if checksums:
            archive.check_crc(path, records)
        wanted = {}
        for name, record in records.items():
            if not name.endswith('.pkl'):
                continue
            wanted = pickle_rules.check_pickle(io.BytesIO(archive.read_record(path, record)))
            folder = name.rpartition('/')[0]
            for key, count in wanted.items():
                found = records.get(f'{folder}/data/{key}')
                if found is None or found.size != count:
                    raise archive.Damaged(f'the tensor data {key!r} should have {count} bytes, '
                                          f'but has {found.size if found else "none"}')
    else:
        # a legacy file is several pickles in a row, then the bytes of the tensors
        with open(path, 'rb') as file:
            wanted = {}
            for _ in range(LEGACY_PICKLES):
                wanted.update(pickle_rules.check_pickle(file))
            if file.tell() + sum(wanted.values()) > size:
                raise archive.Damaged('it ends before its last tensor')


def _refusal(path, wanted):
    return (f'{path} is refused: besides weights it wants {", ".join(wanted)}, and reading that '
            'would run code from the file; if you trust whoever wrote it: '
            f'{typed("convert-checkpoint")} {path} OUT.safetensors --trust-pickle')


def _first_line(error):
    text = str(error).strip()
    if 'WeightsUnpickler error:' in text:  # torch puts advice before it
        text = text.split('WeightsUnpickler error:')[1].strip()
    return (text.splitlines() or [type(error).__name__])[0][:200]


def safetensors_names(path: str | Path) -> list[str]:
    """The names of the tensors of a safetensors file, from its head alone."""
    with _open_safetensors(path) as file:
        return list(file.keys())


def safetensors_meta(path: str | Path) -> dict[str, Any]:
    """What a safetensors file says of itself, from its head alone."""
    with _open_safetensors(path) as file:
        return _parse_meta(file.metadata() or {})


@contextlib.contextmanager
def _open_safetensors(path):
    from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, framework='pt', device='cpu') as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f'{path} cannot be read: {_first_line(error)}; it is torn: fetch or '
                         'write it again') from None


def _read_safetensors(path, map_location):
    with _open_safetensors(path) as file:
        meta = file.metadata() or {}
        state = {key: file.get_tensor(key) for key in file.keys()}
    if torch.device(map_location or 'cpu').type != 'cpu':
        state = {key: value.to(map_location) for key, value in state.items()}
    return dict(state_dict=state, meta=_parse_meta(meta))


def _parse_meta(meta):
    """safetensors keeps strings only; what was written as JSON is read back."""
    parsed = {}
    for key, value in meta.items():
        try:
            parsed[key] = json.loads(value)
        except (ValueError, RecursionError):
            parsed[key] = value
    return parsed


def wanted_globals(path: str | Path) -> list[str]:
    """Names of the globals of a pickled checkpoint that are not allowed, without running it.

    Returns:
        list[str]: sorted ``module.name``.
    """
    names = set()
    with contextlib.suppress(Exception):  # what was found before a tear still counts
        for pickle in _pickles(path):
            names |= pickle_rules.names_in(pickle)
    return sorted(name for name in names if not pickle_rules.is_allowed(name))


def _pickles(path):
    """The pickle streams of a checkpoint file, one after the other."""
    if sniff(path) == 'zip':
        for name, record in archive.records(path).items():
            if name.endswith('.pkl'):
                yield io.BytesIO(archive.read_record(path, record))
        return
    with open(path, 'rb') as file:
        for _ in range(LEGACY_PICKLES if sniff(path) == 'pickle' else 0):
            yield file
