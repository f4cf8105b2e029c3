"""Weights in several files, with an index that says which tensor lies where."""
import json
from pathlib import Path
from typing import Any

from convnext_dense.errors import InputError

INDEX = '.index.json'
SINGLE = ('model.safetensors', 'pytorch_model.bin')  # what transformers calls a whole model


def find_weights(folder: Path) -> Path:
    """The index or the one file of weights in a folder that transformers wrote.

    Raises:
        InputError: there is none, or more than one.
    """
    found = sorted(folder.glob(f'*{INDEX}')) or [folder / name for name in SINGLE
                                                 if (folder / name).is_file()][:1]
    if len(found) != 1:
        raise InputError(f'{folder} is a folder with {len(found) or "no"} file of weights that its '
                         f'name tells ({", ".join(SINGLE)} or one *{INDEX}); name the file')
    return found[0]


def read_index(path: Path) -> dict[str, list[str]]:
    """The files of an index, and the tensors that each must hold.

    Raises:
        InputError: it is no index, or names a file outside of its folder, or one that is missing.
    """
    try:
        names: Any = json.loads(path.read_text())['weight_map']
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f'{path} is no index of weights ({type(error).__name__}); expected JSON '
                         'with a "weight_map"') from None
    shards: dict[str, list[str]] = {}
    for key, name in names.items() if isinstance(names, dict) else [('?', None)]:
        if not isinstance(name, str) or Path(name).name != name or name in ('.', '..'):
            raise InputError(f'{path}: weight_map gives {key!r} the file {name!r}; expected the '
                             'name of a file beside the index')
        shards.setdefault(name, []).append(key)
    for name in shards:
        if not (path.parent / name).is_file():
            raise InputError(f'{path} names {name}, which is not beside it; fetch it, too')
    if not shards:
        raise InputError(f'{path} names no files')
    return shards
