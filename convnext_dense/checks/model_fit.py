"""Whether the parts of a model config fit each other and the classes of the data sets."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convnext_dense.checks.arguments import class_of, parameters
from convnext_dense.checks.panoptic_checks import check_things
from convnext_dense.classes import class_counts
from convnext_dense.config_nodes import type_name
from convnext_dense.datasets.splits import Split
from convnext_dense.errors import InputError
from convnext_dense.registry import MODELS

if TYPE_CHECKING:
    from mmengine.config import Config


def check_model(cfg: Config, splits: Sequence[Split]) -> None:
    """Raise InputError for a backbone, neck or head that does not fit.

    Args:
        cfg (mmengine.Config): the config.
        splits (Sequence[Split]): its data sets.
    """
    model = cfg.get('model') or {}
    model = model.get('module', model)  # a test-time augmentation wrapper
    backbone = model.get('backbone')
    if backbone:
        channels = backbone_channels(backbone, cfg)
        if channels:
            check_channels(model, channels, cfg)
    for split in splits:
        if split.kind == 'panoptic':
            check_things(model, split)
        elif split.classes:
            check_num_classes(model, split.classes, split.where)


def check_num_classes(model: dict, classes: Sequence[str], where: str) -> None:
    """Raise InputError for a head whose ``num_classes`` is not that of the data set."""
    for path, count in class_counts(model):
        if count != len(classes):
            names = ', '.join(map(str, classes[:5])) + (', ...' if len(classes) > 5 else '')
            raise InputError(f'model.{path}.num_classes is {count}, but {where} has '
                             f'{len(classes)} classes ({names}); set it to {len(classes)}, or '
                             'correct metainfo.classes')


def backbone_channels(backbone: dict, cfg: Config) -> tuple[int, ...] | None:
    """Channels of each output of a backbone config, by arithmetic.

    Returns:
        tuple[int] | None: None for a backbone that is neither ConvNeXt nor Swin nor ResNet.

    Raises:
        InputError: an unknown type, arch or stage.
    """
    found = class_of(backbone, 'model', cfg)
    if found is None:
        _refuse_type(backbone)
    if found is MODELS.get('convnext_dense.ConvNeXt'):
        from convnext_dense.models.architectures import resolve_arch, resolve_out_indices
        channels = resolve_arch(backbone.get('arch', 'tiny'))[1]
        return tuple(channels[stage] for stage in resolve_out_indices(
            backbone.get('out_indices'), len(channels)))
    kind = type_name(backbone)
    if kind == 'SwinTransformer':
        first, stages = backbone.get('embed_dims', 96), len(backbone.get('depths', (2, 2, 6, 2)))
    elif kind in ('ResNet', 'ResNetV1c', 'ResNetV1d', 'ResNeXt') and backbone.get('depth'):
        first = backbone.get('base_channels', 64) * (4 if backbone['depth'] >= 50 else 1)
        stages = backbone.get('num_stages', 4)
    else:
        return None
    indices = backbone.get('out_indices', (0, 1, 2, 3))
    if not all(stage in range(stages) for stage in indices):
        raise InputError(f'model.backbone: {kind} has {stages} stages, but '
                         f'out_indices={tuple(indices)}; give 0 to {stages - 1}')
    return tuple(first * 2**stage for stage in indices)


def _refuse_type(backbone):
    raise InputError(f"model.backbone: there is no type {backbone.get('type')!r}; for ConvNeXt "
                     "write type='convnext_dense.ConvNeXt'")


def check_channels(model: dict, channels: Sequence[int], cfg: Config) -> None:
    """Raise InputError where the neck, or heads without a neck, expect other channels.

    Args:
        model (dict): the model's config.
        channels (Sequence[int]): channels of the backbone's outputs.
        cfg (mmengine.Config): the whole config.
    """
    neck = model.get('neck')
    neck = neck[0] if isinstance(neck, (list, tuple)) else neck
    if neck:
        expected = neck.get('in_channels')
        if isinstance(expected, (list, tuple)):
            # some necks, YOLO's for one, count from the last output
            fits = list(expected) in (list(channels), list(channels)[::-1])
        else:
            fits = expected is None or expected in channels
        if not fits:
            _raise('neck', expected, channels, list(channels))
        return
    for name in ('decode_head', 'auxiliary_head'):
        heads = model.get(name) or ()
        for number, head in enumerate(heads if isinstance(heads, (list, tuple)) else [heads]):
            path = f'{name}.{number}' if isinstance(heads, (list, tuple)) else name
            if name == 'decode_head' and number:
                break  # a cascade: later heads read earlier ones
            _check_head(path, head, channels, cfg)


def _check_head(path, head, channels, cfg):
    expected, index = head.get('in_channels'), head.get('in_index', -1)
    if expected is None:
        return
    if not _chooses_inputs(head, cfg):
        if isinstance(expected, (list, tuple)) and list(expected) != list(channels):
            _raise(path, expected, channels, list(channels))
        return
    indices = list(index) if isinstance(index, (list, tuple)) else [index]
    if not all(-len(channels) <= i < len(channels) for i in indices):
        raise InputError(f'model.{path}.in_index={index}, but the backbone has {len(channels)} '
                         'outputs; correct it, or the backbone\'s out_indices')
    given = [channels[i] for i in indices]
    if (list(expected) if isinstance(expected, (list, tuple)) else [expected]) != given:
        _raise(path, expected, channels,
               given if isinstance(expected, (list, tuple)) else given[0])


def _chooses_inputs(head, cfg):
    """Whether a head's class takes ``in_index``; Mask2Former's, for one, takes all maps."""
    found = class_of(head, 'model', cfg)
    return found is None or 'in_index' in parameters(found)[0]


def _raise(path, expected, channels, right):
    shown = list(expected) if isinstance(expected, (list, tuple)) else expected
    raise InputError(f'model.{path}.in_channels={shown} does not fit the backbone, whose outputs '
                     f'have {list(channels)} channels; set it to {right}')
