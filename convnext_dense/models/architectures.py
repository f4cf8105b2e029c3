"""Depths and widths of the published ConvNeXt models, as data.

Sources: ConvNeXt (arXiv 2201.03545) for small, large and xlarge, ConvNeXt V2 (arXiv 2301.00808)
for atto to nano and huge, OpenCLIP (LAION-2B) for xxlarge; tiny, base and large are the same in
both papers.
"""
from collections.abc import Sequence
from typing import Any

from convnext_dense.errors import InputError

NORM_EPS = 1e-6  # of every published model that has no other in its row

ARCHITECTURES: dict[str, dict] = {
    'atto': dict(depths=(2, 2, 6, 2), channels=(40, 80, 160, 320)),
    'femto': dict(depths=(2, 2, 6, 2), channels=(48, 96, 192, 384)),
    'pico': dict(depths=(2, 2, 6, 2), channels=(64, 128, 256, 512)),
    'nano': dict(depths=(2, 2, 8, 2), channels=(80, 160, 320, 640)),
    'tiny': dict(depths=(3, 3, 9, 3), channels=(96, 192, 384, 768)),
    'small': dict(depths=(3, 3, 27, 3), channels=(96, 192, 384, 768)),
    'base': dict(depths=(3, 3, 27, 3), channels=(128, 256, 512, 1024)),
    'large': dict(depths=(3, 3, 27, 3), channels=(192, 384, 768, 1536)),
    'xlarge': dict(depths=(3, 3, 27, 3), channels=(256, 512, 1024, 2048)),
    'huge': dict(depths=(3, 3, 27, 3), channels=(352, 704, 1408, 2816)),
    # OpenCLIP's largest
    'xxlarge': dict(depths=(3, 4, 30, 3), channels=(384, 768, 1536, 3072), norm_eps=1e-5),
}


def resolve_arch(arch: str | dict) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Depths and channels of an architecture.

    Args:
        arch: a key of ``ARCHITECTURES``, or ``dict(depths=..., channels=...)`` with one positive
            integer a stage in each.

    Returns:
        tuple: (depths, channels), two tuples of the same length.

    Raises:
        InputError: an unknown name, or depths and channels that do not fit each other.
    """
    if isinstance(arch, str):
        if arch.lower() not in ARCHITECTURES:
            raise InputError(f'ConvNeXt: unknown arch {arch!r}; the known ones are '
                             f'{", ".join(ARCHITECTURES)}, or give dict(depths=..., channels=...)')
        arch = ARCHITECTURES[arch.lower()]
    elif not isinstance(arch, dict) or not {'depths', 'channels'} <= set(arch):
        raise InputError(f'ConvNeXt: arch must be a name or dict(depths=..., channels=...), '
                         f'not {arch!r}')
    depths, channels = tuple(arch['depths']), tuple(arch['channels'])
    if not depths or len(depths) != len(channels) or not all(
            isinstance(n, int) and n > 0 for n in depths + channels):
        raise InputError('ConvNeXt: arch needs one positive depth and one positive channel count '
                         f'for each stage; got depths={list(depths)}, channels={list(channels)}')
    return depths, channels


def resolve_norm(arch: str | dict, norm_cfg: dict | None) -> dict:
    """The norm of an architecture: ``norm_cfg``, or LayerNorm with the eps of its training.

    Args:
        arch: as :func:`resolve_arch` takes it; ``norm_eps`` in a dict is the eps.
        norm_cfg: OpenMMLab's config of a norm, or None.
    """
    sizes = ARCHITECTURES[arch.lower()] if isinstance(arch, str) else arch
    if norm_cfg is not None and (not isinstance(norm_cfg, dict) or not norm_cfg.get('type')):
        raise InputError(f"ConvNeXt: norm_cfg={norm_cfg!r}; give a dict with a type, such as "
                         "dict(type='LN2d', eps=1e-6), or None")
    return norm_cfg or dict(type='LN2d', eps=sizes.get('norm_eps', NORM_EPS))


def check_numbers(stages: int, **values: Any) -> None:
    """Raise InputError for a number of an architecture that none can be.

    Args:
        stages: how many there are.
        values: by their names: ``in_channels``, ``stem_patch_size``, ``frozen_stages``,
            ``drop_path_rate``.
    """
    for name, least, most in (('in_channels', 1, None), ('stem_patch_size', 1, None),
                              ('frozen_stages', -1, stages)):
        value = values[name]
        if type(value) is not int or value < least or most is not None and value > most:
            raise InputError(f'ConvNeXt: {name}={value!r}; give a whole number from '
                             f'{max(least, 0)}' + (f' to {most}' if most else ' on'))
    rate = values['drop_path_rate']
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
        raise InputError(f'ConvNeXt: drop_path_rate={rate!r}; give a rate from 0 to below 1')


def resolve_stages(name: str, value: bool | Sequence[int], stages: int) -> set[int]:
    """The stages that an option names: all for True, none for False, or those of a list."""
    if isinstance(value, bool):
        return set(range(stages)) if value else set()
    if not isinstance(value, (list, tuple, set)) or not all(
            type(stage) is int and stage in range(stages) for stage in value):
        raise InputError(f'ConvNeXt: {name}={value!r}; give True, False or a list of stages, 0 to '
                         f'{stages - 1}')
    return set(value)


def resolve_out_indices(out_indices: int | Sequence[int] | None, stages: int) -> tuple[int, ...]:
    """The stages of the outputs, counted from 0.

    Args:
        out_indices (int | Sequence[int] | None): negative ones count from the end; None is all.
        stages (int): how many there are.

    Raises:
        InputError: one that is no stage, or one twice.
    """
    if out_indices is None:
        return tuple(range(stages))
    indices = (out_indices, ) if isinstance(out_indices, int) else out_indices
    resolved = tuple(index + stages if isinstance(index, int) and index < 0 else index
                     for index in indices)
    if not resolved or not all(index in range(stages) for index in resolved) or \
            len(set(resolved)) != len(resolved):
        raise InputError(f'ConvNeXt: out_indices={out_indices!r}; each must name one of the '
                         f'{stages} stages (0 to {stages - 1}, or -{stages} to -1) once')
    return resolved
