"""The tensors of a checkpoint, whichever key holds them, and which of several backbones counts."""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from convnext_dense.checkpoints import sharded
from convnext_dense.checkpoints.formats import Found, recognise, recognise_all
from convnext_dense.checkpoints.lora import merge_adapters
from convnext_dense.checkpoints.reading import read_checkpoint, safetensors_names, sniff
from convnext_dense.errors import InputError

#: keys under which trainers keep weights; the first that holds a dict is taken
USUAL = ('state_dict', 'model', 'model_state_dict', 'module', 'model_ema')
DEPTH = 3  # of dicts in dicts that are looked into where the usual keys hold no weights
DOORS = ('of load_weights, init_cfg and init_from; train --init-prefix; convert-checkpoint and '
         'inspect-checkpoint --prefix')
# what torch.compile, FSDP, activation checkpointing and DDP put into names
_WRAPPERS = re.compile(
    r'(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.|^module\.')


def state_dict_of(checkpoint: Any, source: str = 'the checkpoint',
                  prefix: str | None = None) -> dict[str, torch.Tensor]:
    """The names and tensors of a checkpoint, whichever key it keeps them under, adapters merged.

    Args:
        checkpoint: what was saved.
        source (str): what messages call it.
        prefix (str, optional): take only the tensors under this prefix, and take it away. It may
            begin with the keys of a dict of tensors inside of the checkpoint, such as ``teacher``
            or ``model.state_dict``.

    Raises:
        InputError: there are none.
    """
    state = next((checkpoint[key] for key in USUAL if isinstance(checkpoint.get(key), dict)),
                 checkpoint)
    tensors = _unwrapped(state, source)
    inner = dict(_dicts_of_tensors(checkpoint))
    if prefix:
        tensors = _under(tensors, inner, prefix, source)
    elif not tensors or not recognise(tensors) and any(map(recognise, inner.values())):
        raise InputError(_no_weights(checkpoint, inner, source))
    return merge_adapters(tensors, checkpoint, source)


def names_in(path: str | Path) -> list[str]:
    """The names of the tensors of a file, or of a folder of files; no tensor is read.

    Args:
        path (str | Path): as for :func:`read_checkpoint`.

    Returns:
        list[str]: empty for a file of torch before 1.6, which can only be read whole.

    Raises:
        InputError: it cannot be read.
    """
    path = Path(path)
    path = sharded.find_weights(path) if path.is_dir() else path
    if path.name.endswith(sharded.INDEX):
        return [key for keys in sharded.read_index(path).values() for key in keys]
    kind = sniff(path)
    if kind == 'safetensors':
        return safetensors_names(path)
    return list(state_dict_of(read_checkpoint(path, checksums=False), str(path))) if (
        kind == 'zip') else []


def choose_backbone(state: Mapping[str, Any], source: str,
                    target: Found | None = None) -> Found | None:
    """The backbone of a file; of several, the one that is named as a model by itself is.

    Args:
        state: names (and tensors) of the file.
        source (str): what messages call it.
        target (Found, optional): the model's format and prefix: a backbone of the same prefix, or
            else of the same family, goes before others.

    Returns:
        Found | None: None where no format is recognised.

    Raises:
        InputError: several, such as a student's and a teacher's, and no name says which is meant.
    """
    found = recognise_all(state)
    if target:
        found = [one for one in found if one.format.family == target.format.family] or found
    rivals = [one for one in found if one.format.family == found[0].format.family]
    if len(rivals) < 2:
        return next(iter(rivals), None)
    own = [one for one in rivals if target and one.prefix == target.prefix] or [
        one for one in rivals if not one.root]
    if len(own) == 1:
        return own[0]
    names = [one.root or one.prefix for one in rivals]
    raise InputError(f'{source} holds {len(rivals)} backbones, under {" and ".join(names)}; choose '
                     f'one with prefix={names[0]!r} ({DOORS})')


def some(keys: Sequence[str], count: int = 3) -> str:
    """The first few names of many, and how many more there are."""
    more = f' and {len(keys) - count} more' if len(keys) > count else ''
    return ', '.join(keys[:count]) + more


def _unwrapped(state, source):
    tensors: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if isinstance(value, torch.Tensor) and isinstance(key, str):
            name = _WRAPPERS.sub('', key)
            if name in tensors:
                raise InputError(f'{source} holds {name} twice, once as {key}; take one of them '
                                 'out')
            tensors[name] = value
    return tensors


def _dicts_of_tensors(checkpoint: Mapping, path: str = '',
                      depth: int = DEPTH) -> Iterator[tuple[str, dict]]:
    """Dicts with names and tensors, by the keys that lead to them."""
    for key, value in checkpoint.items():
        if isinstance(key, str) and isinstance(value, dict):
            tensors = {name: tensor for name, tensor in value.items()
                       if isinstance(name, str) and isinstance(tensor, torch.Tensor)}
            if tensors:
                yield path + key, tensors
            if depth > 1:
                yield from _dicts_of_tensors(value, f'{path}{key}.', depth - 1)


def _under(tensors, inner, prefix, source):
    """What lies under a prefix among the weights, or else in a dict that the prefix leads to."""
    prefix = prefix.rstrip('.') + '.'
    everywhere = {f'{path}.{name}': tensor for path, named in inner.items()
                  for name, tensor in _unwrapped(named, source).items()}
    for names in (tensors, everywhere):
        found = {name[len(prefix):]: tensor for name, tensor in names.items()
                 if name.startswith(prefix)}
        if found:
            return _unwrapped(found, source)
    raise InputError(f'{source} has nothing under prefix {prefix!r}; it has '
                     f'{some(list(tensors or everywhere)) or "no tensors"}')


def _no_weights(checkpoint, inner, source):
    if not inner:
        return (f'{source} holds no weights; its keys are '
                f'{some([str(key) for key in checkpoint]) or "none"}')
    # dicts whose backbone is known before others, then the largest
    paths = sorted(inner, key=lambda path: (recognise(inner[path]) is None, -len(inner[path])))
    return (f'{source} holds no known weights under the usual keys ({", ".join(USUAL)}), but '
            f'tensors under {some(paths)}; take some with prefix={paths[0]!r} ({DOORS})')
