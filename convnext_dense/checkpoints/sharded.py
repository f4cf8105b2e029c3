"""Weights in several files, with an index that says which tensor lies where."""
import json
from pathlib import Path
from typing import Any

from convnext_dense.errors import InputError

INDEX = '.index.json'
OPEN_CLIP = ('open_clip_model.safetensors', 'open_clip_pytorch_model.bin')
# what transformers and OpenCLIP call the weights of a model, in the order in which they look
NAMES = ('model.safetensors', 'model.safetensors.index.json', OPEN_CLIP[0],
         'pytorch_model.bin', 'pytorch_model.bin.index.json', OPEN_CLIP[1])


def find_weights(folder: Path) -> Path:
    """The one file of weights in a folder as transformers writes it, or the index of several.

    Raises:
        InputError: there is none, or there are several of other names.
    """
    known = [folder / name for name in NAMES if (folder / name).is_file()]
    found = known[:1] or sorted(folder.glob(f'*{INDEX}'))
    if not found:
        raise InputError(f'{folder} is a folder with no file of weights that its name tells '
                         f'({", ".join(NAMES)} or one *{INDEX}); name the file')
    if len(found) > 1:
        raise InputError(f'{folder} is a folder with {len(found)} indexes of weights '
                         f'({", ".join(path.name for path in found)}); name one of them')
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
