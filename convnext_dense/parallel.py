"""What a config's ``parallel`` says: how several processes train one model.

``parallel = dict(type='ddp', ...)`` keeps the whole model in every process (torch's
DistributedDataParallel); ``parallel = dict(type='fsdp', ...)`` keeps a part of every parameter, its
gradient and its optimizer state in each (torch's FSDP2).
"""
from dataclasses import dataclass, fields
from typing import Any

from convnext_dense.errors import InputError

DTYPES = (None, 'float32', 'bfloat16')


@dataclass(frozen=True)
class DdpSettings:
    """The whole model in each process; gradients are averaged while they are computed.

    Args:
        static_graph (bool): every step uses the same parameters in the same order, which torch
            then need not look for; parameters that no step uses are allowed.
        gradient_as_bucket_view (bool): gradients live in the buffers that are exchanged, which
            saves the memory of one copy of them.
        bfloat16_gradients (bool): gradients are exchanged in bfloat16, half of the bytes.
        bucket_cap_mb (int): size of a buffer in MiB.
    """
    static_graph: bool = False
    gradient_as_bucket_view: bool = False
    bfloat16_gradients: bool = False
    bucket_cap_mb: int = 25


@dataclass(frozen=True)
class FsdpSettings:
    """A part of every parameter in each process; a group of blocks is gathered while it computes.

    Args:
        blocks (int): blocks of the backbone that are gathered together.
        param_dtype (str, optional): in which a group's parameters are gathered: ``bfloat16`` is
            half of the bytes and needs a training in mixed precision; None is as they are.
        reduce_dtype (str, optional): in which gradients are summed; None is ``param_dtype``.
        reshard_after_forward (bool): a group is given back after its forward pass and gathered
            again in the backward pass; False keeps it, for less communication and more memory.
    """
    blocks: int = 3
    param_dtype: str | None = None
    reduce_dtype: str | None = None
    reshard_after_forward: bool = True


TYPES: dict[str, type] = dict(ddp=DdpSettings, fsdp=FsdpSettings)


def parallel_settings(setting: Any) -> DdpSettings | FsdpSettings:
    """The settings of a config.

    Args:
        setting (dict | None): ``parallel`` of the config; None is ``dict(type='ddp')``.

    Raises:
        InputError: no such type, a key that it does not have, or a value that none may have.
    """
    if setting is None:
        return DdpSettings()
    if not isinstance(setting, dict) or setting.get('type') not in TYPES:
        raise InputError(f"parallel={setting!r}: give dict(type='ddp', ...) or "
                         "dict(type='fsdp', ...)")
    kind = TYPES[setting['type']]
    options = {key: value for key, value in setting.items() if key != 'type'}
    known = {field.name: field.default for field in fields(kind)}
    for key, value in options.items():
        if key not in known:
            raise InputError(f'parallel: {setting["type"]} has no {key!r}; its settings are '
                             f'{", ".join(known)}')
        if key.endswith('_dtype'):
            if value not in DTYPES:
                raise InputError(f'parallel.{key}={value!r}; give one of '
                                 f'{", ".join(map(repr, DTYPES))}')
        elif type(value) is not type(known[key]) or (type(value) is int and value < 1):
            raise InputError(f'parallel.{key}={value!r}; give '
                             + ('True or False' if isinstance(known[key], bool) else
                                'a whole number from 1 on'))
    return kind(**options)
