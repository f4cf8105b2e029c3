"""Reading a checkpoint without running anything that it holds.

A pickle can call any function of the machine when it is read. Here a file is read with torch's
``weights_only`` reader, which knows tensors and containers, or as safetensors; what OpenMMLab's
own checkpoints hold besides is allowed by name, class by class.
"""
import _compat_pickle
import argparse
import contextlib
import json
import pickletools
import warnings
import zipfile
from pathlib import Path

import torch

from convnext_dense.errors import InputError

ZIP, PICKLE = b'PK\x03\x04', b'\x80'
# torch.save before 1.6 wrote a pickle of this number first, then the rest
LEGACY_MAGIC = bytes.fromhex('6cfc9c46f9206aa85019')


def read_checkpoint(path, map_location='cpu', mmap=True, trust_pickle=False):
    """Read a checkpoint file; nothing in it is run.

    Args:
        path (str | Path): a .pth, .pt, .bin or .safetensors file, or whatever
            :func:`convnext_dense.checkpoints.zoo.locate` knows: a URL or the name of published
            weights.
        map_location: device of the tensors, as in ``torch.load``.
        mmap (bool): leave the tensors in the file until they are used. They stay tied to the
            file, which must not be rewritten in place meanwhile.
        trust_pickle (bool): run whatever code the file holds. Only for files that you made.

    Returns:
        dict: what was saved. A safetensors file gives ``dict(state_dict=..., meta=...)``.

    Raises:
        InputError: no such file, a torn or foreign file, or one that holds more than weights;
            the message names the globals that it wanted.
    """
    from convnext_dense.checkpoints.zoo import locate
    path = Path(locate(path))
    kind = sniff(path)
    if kind == 'safetensors':
        return _read_safetensors(path, map_location)
    if trust_pickle:
        warnings.warn(f'{path} IS READ WITH FULL UNPICKLING: it can run any code on this machine',
                      stacklevel=2)
        checkpoint = torch.load(path, map_location=map_location, weights_only=False)
    else:
        checkpoint = _read_pickle(path, map_location, mmap and kind == 'zip')
    if not isinstance(checkpoint, dict):
        raise InputError(f'{path} holds a {type(checkpoint).__name__}, expected a dict of tensors '
                         'or a checkpoint; save model.state_dict() instead')
    return checkpoint


def read_safely_in_mmengine():
    """Make every load of mmengine in this process go through :func:`read_checkpoint`.

    mmengine falls back to full unpickling when its safe reader refuses a file, in
    ``init_cfg=dict(type='Pretrained')``, ``load_checkpoint`` and ``resume`` alike. All of them
    ask its CheckpointLoader, which lets loaders be replaced.
    """
    from mmengine.runner import CheckpointLoader
    CheckpointLoader.register_scheme(list(CheckpointLoader._schemes), load_from_safe_reader,
                                     force=True)


def load_from_safe_reader(filename, map_location=None):  # mmengine logs the name's end
    return read_checkpoint(filename, map_location)


def sniff(path):
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


def _read_pickle(path, map_location, mmap):
    try:
        with torch.serialization.safe_globals(_allowed()):
            return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except Exception as error:  # a torn or hostile file can raise anything
        wanted = wanted_globals(path)
        if wanted:
            raise InputError(_refusal(path, wanted)) from None
        raise InputError(f'{path} cannot be read: {_first_line(error)}; it is torn or no '
                         'checkpoint: fetch or write it again') from None


def _refusal(path, wanted):
    return (f'{path} is refused: besides weights it wants {", ".join(wanted)}, and reading that '
            'would run code from the file; if you trust whoever wrote it: '
            f'tools/convert_checkpoint.py {path} OUT.safetensors --trust-pickle')


def _first_line(error):
    text = str(error).strip()
    if 'WeightsUnpickler error:' in text:  # torch puts advice before it
        text = text.split('WeightsUnpickler error:')[1].strip()
    return (text.splitlines() or [type(error).__name__])[0][:200]


def _read_safetensors(path, map_location):
    from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, framework='pt', device='cpu') as file:
            meta = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f'{path} cannot be read: {_first_line(error)}; it is torn: fetch or '
                         'write it again') from None
    if torch.device(map_location or 'cpu').type != 'cpu':
        state = {key: value.to(map_location) for key, value in state.items()}
    return dict(state_dict=state, meta=_parse_meta(meta))


def _parse_meta(meta):
    """safetensors keeps strings only; what was written as JSON is read back."""
    parsed = {}
    for key, value in meta.items():
        try:
            parsed[key] = json.loads(value)
        except ValueError:
            parsed[key] = value
    return parsed


def wanted_globals(path):
    """Names of the globals of a pickled checkpoint that are not allowed, without running it.

    Returns:
        list[str]: sorted ``module.name``.
    """
    from torch import _weights_only_unpickler as reader
    with torch.serialization.safe_globals(_allowed()):
        allowed = {**reader._get_allowed_globals(), **reader._get_user_allowed_globals()}
    names = set()
    with contextlib.suppress(Exception):  # what was found before a tear still counts
        for pickle in _pickles(path):
            names |= _globals(pickle)
    return sorted(names - set(allowed))


def _pickles(path):
    """The pickle streams of a checkpoint file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith('.pkl'):
                    yield archive.read(name)
        return
    with open(path, 'rb') as file:
        rest = file.read()
    # a legacy file is several pickles in a row, then the bytes of the tensors
    for _ in range(5):
        if not rest.startswith(PICKLE):
            return
        yield rest
        end = [position for _, _, position in pickletools.genops(rest)][-1] + 1
        rest = rest[end:]


def _globals(pickle):
    """``module.name`` of every global that a pickle mentions."""
    names, strings = set(), []
    with contextlib.suppress(Exception):  # what was found before a tear still counts
        for opcode, argument, _ in pickletools.genops(pickle):
            if opcode.name in ('GLOBAL', 'INST'):
                names.add('.'.join(_modern_name(*argument.split(' '))))
            elif opcode.name == 'STACK_GLOBAL' and len(strings) >= 2:
                names.add('.'.join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    return names


def _modern_name(module, name):
    """Protocol 2, which torch.save writes, gives modules the names of Python 2."""
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


def _allowed():
    """What OpenMMLab's and the official training scripts save besides weights.

    numpy moved its core in 2.0, so files name the same functions in two ways.
    """
    import numpy as np
    from mmengine.logging.history_buffer import HistoryBuffer
    core = np._core.multiarray if hasattr(np, '_core') else np.core.multiarray
    allowed = [argparse.Namespace, slice, np.ndarray, np.dtype, HistoryBuffer,
               _named(_history_method, 'builtins', 'getattr')]
    for module in ('numpy._core.multiarray', 'numpy.core.multiarray'):
        allowed += [_named(core.scalar, module, 'scalar'),
                    _named(core._reconstruct, module, '_reconstruct')]
    kinds = [np.bool_, np.float16, np.float32, np.float64, np.str_, np.int8, np.int16, np.int32,
             np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
    return allowed + [type(np.dtype(kind)) for kind in kinds]


def _named(function, module, name):
    """A function that goes by another name; torch's reader looks names up."""
    def allowed(*args):
        return function(*args)
    allowed.__module__, allowed.__name__, allowed.__qualname__ = module, name, name
    return allowed


def _history_method(owner, name):
    """What ``getattr`` may fetch in a checkpoint: the statistics of mmengine's HistoryBuffer.

    Checkpoints of OpenMMLab name those methods through getattr; getattr itself would open the
    way to everything else.
    """
    from mmengine.logging.history_buffer import HistoryBuffer
    if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return getattr(HistoryBuffer, name)
    raise ValueError(f'it wants getattr({owner!r}, {name!r})')
