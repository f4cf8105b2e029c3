"""Writing weights in another format, as safetensors or as torch.save does."""
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from convnext_dense.checkpoints.architecture import architecture_of
from convnext_dense.checkpoints.fetching import locate
from convnext_dense.checkpoints.fine_tuning import classes_of
from convnext_dense.checkpoints.formats import (
    BACKBONE,
    FORMATS,
    LEFTOVERS,
    from_official,
    to_official,
)
from convnext_dense.checkpoints.pixels import pixels_of
from convnext_dense.checkpoints.reading import read_checkpoint
from convnext_dense.checkpoints.state_dicts import choose_backbone, state_dict_of
from convnext_dense.checkpoints.values import check_values
from convnext_dense.errors import InputError, convert_errors
from convnext_dense.files import atomic_write

# formats of OpenMMLab and of the official releases name heads alike; the others have none
WITH_HEADS = ('official', 'mmpretrain', 'swin', 'swin-openmmlab', 'resnet')


def convert_checkpoint(source: str | Path, out: str | Path, to: str | None = None,
                       backbone_only: bool = False, drop: Sequence[str] = (),
                       licence: str | None = None, trust_pickle: bool = False,
                       prefix: str | None = None) -> dict[str, Any]:
    """Write the weights of ``source`` to ``out`` under the names of another format.

    Args:
        source (str | Path): a file, or a name or URL that :func:`locate` knows.
        out (str | Path): ``.safetensors``, or ``.pth``, ``.pt`` or ``.bin`` for torch.save. It
            gets its name only when it is whole.
        to (str, optional): a key of ``FORMATS``; None keeps the names.
        backbone_only (bool): leave neck and heads out.
        drop (Sequence[str]): leave out what starts with one of these, such as
            ``roi_head.bbox_head.fc_cls`` (names as in the source).
        licence (str, optional): noted in the file; kept from the source, or from the zoo where
            the source is a name or URL of it.
        trust_pickle (bool): run the code that the source holds, see :func:`read_checkpoint`.
        prefix (str, optional): write only the tensors under it, see :func:`state_dict_of`.

    Returns:
        dict: the metadata that was written: format, arch, classes, config hash, licence, pixels
            (mean and deviation, where they are known).

    Raises:
        InputError: an unknown format, another family, or nothing left to write.
    """
    out = Path(out)
    if out.suffix not in ('.safetensors', '.pth', '.pt', '.bin'):
        raise InputError(f'{out}: the name must end with .safetensors, .pth, .pt or .bin')
    checkpoint = read_checkpoint(locate(source), trust_pickle=trust_pickle)
    state = state_dict_of(checkpoint, str(source), prefix)
    if drop:
        state = {key: value for key, value in state.items() if not key.startswith(tuple(drop))}
    check_values(state, str(source))
    with convert_errors(str(source), 'it is damaged, or no model known here'):
        state, name, backbone = convert_state(state, to, backbone_only, str(source))
        meta = _metadata(checkpoint, backbone, name, _is_whole(state),
                         licence or _zoo_licence(source), pixels_of(str(source)))
    _write(state, out, meta)
    return meta


def convert_state(state: dict[str, torch.Tensor], to: str | None = None,
                  backbone_only: bool = False,
                  source: str = 'the checkpoint'
                  ) -> tuple[dict[str, torch.Tensor], str, dict[str, torch.Tensor]]:
    """The tensors of a file under the names of another format.

    Args: see :func:`convert_checkpoint`.

    Returns:
        tuple: (names and tensors, name of their format, the backbone under official names).
    """
    found = choose_backbone(state, source)
    if to is not None and to not in FORMATS:
        raise InputError(f'--to {to}: no such format; the known ones are {", ".join(FORMATS)}')
    if found is None:
        if to is None and not backbone_only:
            return state, 'unknown', {}
        raise InputError(f'{source}: no known format; its keys are like '
                         f'{", ".join(list(state)[:3])}')
    fmt = FORMATS[to] if to else found.format
    if fmt.family != found.format.family:
        raise InputError(f'{source} holds {found.format.family} weights, which have no form '
                         f'named {to} ({fmt.family})')
    backbone, rest = to_official(state, found)
    whole = found.prefix.endswith(BACKBONE) and any(not LEFTOVERS.match(key) for key in rest)
    if whole and not backbone_only and fmt.name in WITH_HEADS:
        converted = {**from_official(backbone, fmt, BACKBONE), **rest}
    elif to is None and not backbone_only:
        converted = state
    else:
        # for the outside of a detector, its output norms are foreign
        outside = fmt.name not in WITH_HEADS
        backbone = {key: value for key, value in backbone.items()
                    if not (outside and key.startswith('norm') and key[4].isdigit())}
        prefix = fmt.prefix(backbone) if not backbone_only else ''
        converted = from_official(backbone, fmt, prefix)
    if not converted:
        raise InputError(f'{source}: nothing is left to write')
    return converted, fmt.name, backbone


def _metadata(checkpoint, backbone, name, whole, licence, pixels):
    """What a deployed file says of itself; ``format`` is what transformers asks for."""
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    known = dict(format='pt', key_format=name, arch=architecture_of(backbone).get('arch'))
    if whole:
        known['classes'] = classes_of(checkpoint, {})
    if isinstance(meta.get('cfg'), str):
        known['config_sha256'] = hashlib.sha256(meta['cfg'].encode()).hexdigest()
    elif isinstance(meta.get('config_sha256'), str):
        known['config_sha256'] = meta['config_sha256']
    known['licence'] = licence or (
        meta.get('licence') if isinstance(meta.get('licence'), str) else None)
    if pixels:  # under other names OpenCLIP's tensors do not tell any more
        known['pixels'] = dict(mean=pixels[0], std=pixels[1])
    return {key: value for key, value in known.items() if value}


def _zoo_licence(source):
    from convnext_dense.checkpoints.zoo import entries
    return next((entry.licence for entry in entries().values()
                 if str(source) in (entry.name, entry.url)), None)


def _write(state, out, meta):
    from safetensors import SafetensorError
    try:
        with atomic_write(out) as partial:
            _save(state, meta, partial, out.suffix)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch raises RuntimeError
        raise InputError(f'cannot write {out}: {str(error).splitlines()[0]}') from error


def _save(state, meta, path, suffix):
    if suffix == '.safetensors':
        from safetensors.torch import save_file
        strings = {key: value if isinstance(value, str) else json.dumps(value)
                   for key, value in meta.items()}
        save_file(_unshared(state), path, metadata=strings)
    else:
        # timm, torchvision and transformers read the names at the top level
        torch.save(dict(state_dict=state, meta=meta)
                   if meta['key_format'] in WITH_HEADS[1:] or _is_whole(state)
                   else dict(model=state) if meta['key_format'] == 'official'
                   else state, path)


def _is_whole(state):
    return any(key.startswith(BACKBONE) for key in state)


def _unshared(state):
    """Contiguous tensors that share no memory, as safetensors asks for."""
    seen, result = set(), {}
    for key, tensor in state.items():
        tensor = tensor.contiguous()
        if tensor.data_ptr() in seen or tensor.numel() < tensor.untyped_storage().nbytes() \
                // tensor.element_size():
            tensor = tensor.clone()
        seen.add(tensor.data_ptr())
        result[key] = tensor
    return result
