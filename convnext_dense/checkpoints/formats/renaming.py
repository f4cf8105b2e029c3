"""Recognising a format, and renaming tensors into and out of the official names."""
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import torch

from convnext_dense.checkpoints.formats.detrex import from_detrex
from convnext_dense.checkpoints.formats.libraries import (
    MMPRETRAIN,
    TIMM,
    TIMM_FEATURES,
    TORCHVISION,
    TRANSFORMERS,
    TRANSFORMERS_DINOV3,
)
from convnext_dense.checkpoints.formats.official import FCMAE, OFFICIAL
from convnext_dense.checkpoints.formats.swin import MM_SWIN, SWIN
from convnext_dense.checkpoints.formats.tables import Format, Found, pattern

# torchvision's names, which mmdet and mmseg keep
RESNET = Format('resnet', 'resnet', r'layer\d+\.\d+\.conv\d+\.weight$', ())

FORMATS = {fmt.name: fmt for fmt in (
    OFFICIAL, FCMAE, TIMM, TIMM_FEATURES, TORCHVISION, TRANSFORMERS,
    TRANSFORMERS_DINOV3, MMPRETRAIN, SWIN, MM_SWIN, RESNET)}

# What a published file holds beside the backbone, in official names: the classification head and
# final norm, buffers that the model computes itself, the decoder of the masked autoencoder, the
# projectors of EUPE's distillation
LEFTOVERS = re.compile(
    r'(norm|head|head_dist|fc|classifier)\.|norm\d+\.(weight|bias)$'
    r'|(mask_token|proj|pred|decoder|projectors)\b'
    r'|.*\.(attn_mask|relative_position_index|num_batches_tracked)$')
OUTPUT_NORM = re.compile(r'norm\d+\.')
COMPUTED = re.compile(r'.*\.(relative_position_index|num_batches_tracked)$')


_compiled: dict[str, dict] = {}


def _rename(key, fmt, source, target):
    """The row of ``fmt`` that knows ``key`` in column ``source``, and its name in ``target``."""
    if fmt.name not in _compiled:
        _compiled[fmt.name] = {column: [(pattern(getattr(row, column)), row) for row in fmt.rows]
                               for column in ('theirs', 'official')}
    for expression, row in _compiled[fmt.name][source]:
        if source == 'official' and row.write is None:
            continue
        match = expression.fullmatch(key)
        if match:
            return row, getattr(row, target).format(**match.groupdict())
    return None, key


def recognise(keys: Iterable[str]) -> Found | None:
    """The format of a file or model, from its keys alone.

    Args:
        keys (Iterable[str]): names of the tensors; a few may be missing or foreign.

    Returns:
        Found | None: the one of :func:`recognise_all` with the most tensors, or None.
    """
    return next(iter(recognise_all(keys)), None)


def recognise_all(keys: Iterable[str]) -> list[Found]:
    """The backbones of a file or model, such as a student's and its teacher's.

    Args: see :func:`recognise`.

    Returns:
        list[Found]: one for each prefix; those with more tensors first, then the shorter prefix.
    """
    votes: Counter[tuple[str, str]] = Counter()
    for key in keys:
        for fmt in FORMATS.values():
            match = re.search(r'(?:^|(?<=\.))' + fmt.signature, key)
            if match:
                votes[fmt.name, key[:match.start()]] += 1
    found: dict[str, Found] = {}
    for name, prefix in sorted(votes, key=lambda key: (-votes[key], len(key[1]))):
        found.setdefault(prefix, Found(FORMATS[name], prefix))
    return list(found.values())


def to_official(state: dict[str, torch.Tensor],
                found: Found) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The tensors of a file under official names.

    Args:
        state (dict): names and tensors.
        found (Found): what :func:`recognise` said of them.

    Returns:
        tuple: (backbone, rest): the backbone's tensors under official names (unknown ones under
        their own), and the tensors outside of the backbone with ``found.root`` taken away, those
        of detrex's DINO under mmdet's names.
    """
    fmt, backbone, rest = found.format, {}, {}
    classifier = fmt is MMPRETRAIN and not _has_output_norms(state, found.prefix)
    head = pattern(fmt.head) if fmt.head else None
    for key, tensor in state.items():
        if not key.startswith(found.prefix):
            match = head and head.fullmatch(key.removeprefix(found.root))
            if match:
                backbone['head.' + match['p']] = tensor
            else:
                rest[key.removeprefix(found.root)] = tensor
            continue
        row, name = _rename(key[len(found.prefix):], fmt, 'theirs', 'official')
        if classifier and name.startswith('norm3.'):
            name = name.replace('norm3.', 'norm.')  # mmpretrain's final norm
        backbone[name] = row.read(tensor) if row else tensor
    return backbone, from_detrex(rest)


def _has_output_norms(state: dict[str, torch.Tensor], prefix: str = '') -> bool:
    """Whether outputs before the last have norms: mmpretrain's classifiers have the last's only."""
    return any(f'{prefix}norm{stage}.weight' in state for stage in range(3))


def from_official(backbone: dict[str, torch.Tensor], fmt: Format,
                  prefix: str = '') -> dict[str, torch.Tensor]:
    """A backbone under official names in the names of another format.

    Args:
        backbone (dict): official names and tensors; unknown ones keep their names.
        fmt (Format): the format.
        prefix (str): put before every name but the head's.

    Returns:
        dict: names and tensors.
    """
    state = {}
    classifier = fmt is MMPRETRAIN and not _has_output_norms(backbone)
    for key, tensor in backbone.items():
        if fmt.head and key.startswith('head.'):
            state[fmt.head.format(p=key[5:])] = tensor
            continue
        if classifier and key.startswith('norm.'):
            key = key.replace('norm.', 'norm3.')
        row, name = _rename(key, fmt, 'official', 'theirs')
        state[prefix + name] = row.write(tensor) if row else tensor
    return state


def fit(key: str, tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor | None:
    """A tensor in the shape that the model wants, where the values allow it, else None.

    Linear layers and 1x1 convolutions, layer scales and GRN's parameters differ between formats
    in dimensions of size 1 only. Swin's position tables are resized to another window, as the
    official release does.
    """
    if tensor.shape == shape:
        return tensor
    if [n for n in tensor.shape if n > 1] == [n for n in shape if n > 1]:
        return tensor.reshape(shape)
    if key.endswith('relative_position_bias_table') and tensor.shape[1:] == shape[1:]:
        old, new = round(tensor.shape[0] ** .5), round(shape[0] ** .5)
        if old ** 2 == tensor.shape[0] and new ** 2 == shape[0]:
            grid = tensor.float().T.reshape(1, -1, old, old)
            grid = torch.nn.functional.interpolate(grid, size=(new, new), mode='bicubic')
            return grid.reshape(-1, new * new).T.to(tensor.dtype)
    return None


def other_bands(found: Sequence[int], wanted: Sequence[int]) -> str | None:
    """What to do where the first convolution of a backbone has other image channels.

    Args:
        found, wanted: its shape in the file and in the model.

    Returns:
        None for any other layer.
    """
    if len(found) != 4 or len(wanted) != 4 or found[2] == 1 or max(found[1], wanted[1]) > 16 or \
            (found[0], *found[2:]) != (wanted[0], *wanted[2:]):
        return None
    return (f'the weights are for images of {found[1]} channels, the model for {wanted[1]}: load '
            f'images of {found[1]} channels (backbone.in_channels={found[1]}), or start the '
            'backbone from nothing (init_cfg=None)')
