"""Starting from a model of other classes: what fits is loaded, classes are matched by name."""
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from convnext_dense.checkpoints.class_layers import (
    layout_of,
    matched_places,
    may_have_classes,
    number_of_classes,
    plain_name,
)
from convnext_dense.checkpoints.formats import COMPUTED, OUTPUT_NORM, fit, other_bands
from convnext_dense.checkpoints.loading import rename
from convnext_dense.checkpoints.lora import ADAPTER
from convnext_dense.checkpoints.state_dicts import some
from convnext_dense.errors import InputError

_DETECTED = ('fc_cls.weight', 'cls_branches.0.weight', 'rtm_cls.0.weight', 'class_embed.0.weight',
             'panoptic_head.cls_embed.weight')


@dataclass
class FineTuning:
    """What a model takes from a file of other classes.

    Attributes:
        tensors (dict): the model's names and what to load.
        kept, fresh (list[str]): classes with rows from the file, and without; both empty where
            the file has no layers of classes.
        started (list[str]): the model's tensors that the file has no counterpart for.
        left (list[str]): the file's tensors that the model has no place for.
        doubtful (list[str]): tensors that are loaded row by row, though their rows may be those
            of other classes.
    """
    tensors: dict = field(default_factory=dict)
    kept: list = field(default_factory=list)
    fresh: list = field(default_factory=list)
    started: list = field(default_factory=list)
    left: list = field(default_factory=list)
    doubtful: list = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f'{len(self.tensors)} tensors loaded']
        if self.started:
            parts.append(f'{len(self.started)} start fresh ({some(self.started, 2)})')
        text = ', '.join(parts)
        if self.kept or self.fresh:
            text += f'; of {len(self.kept) + len(self.fresh)} classes '
            text += ', '.join(f'{len(names)} {where} ({some(names, 5)})' for names, where in
                              ((self.kept, 'from the file'), (self.fresh, 'fresh')) if names)
        return text


def plan_fine_tuning(wanted: dict, state: dict, classes: Sequence[str],
                     file_classes: Sequence[str] | None, source: str,
                     model: str = 'the model') -> FineTuning:
    """Decide what a model takes from a file.

    Args:
        wanted: the model's names and tensors, with the values that they start from.
        state: the file's.
        classes: the model's class names, in order.
        file_classes: the file's; None where nothing names them: layers of classes start fresh.
        source, model: what messages call them.

    Raises:
        InputError: the backbone does not fit, or another layer has a shape that classes do not
            explain.
    """
    named, target, label = rename(wanted, state, source, model)
    prefix = target.prefix if target else 'backbone.'
    plan = FineTuning()
    matched = False
    for key, value in wanted.items():
        if ADAPTER.search(key):
            continue
        tensor = named.get(key)
        if tensor is None:
            if key.startswith(prefix) and not COMPUTED.match(key) and not OUTPUT_NORM.match(
                    key[len(prefix):]):
                raise InputError(f'{source} ({label}) lacks {key} of the backbone of {model}; it '
                                 'is damaged, or of another arch')
            if not COMPUTED.match(key):
                plan.started.append(key)
            continue
        inside = bool(prefix) and key.startswith(prefix)
        moved = None if inside else _places_of_classes(key, tensor, value, classes, file_classes)
        if moved is not None:
            if moved:
                plan.tensors[key] = _take_places(value, tensor, moved)
                matched = True
            else:
                plan.started.append(key)
            continue
        fitted = fit(key, tensor, value.shape)
        if fitted is None:
            if COMPUTED.match(key):
                continue
            raise InputError(f'{source} ({label}): {key} has the shape {tuple(tensor.shape)}, but '
                             f'{model} wants {tuple(value.shape)}; '
                             + (other_bands(tensor.shape, value.shape) or
                                'other classes do not explain it: it is another arch or neck'))
        plan.tensors[key] = fitted
        if not inside and may_have_classes(key, value.shape, file_classes, classes):
            plan.doubtful.append(key)
    plan.left = [key for key in named if key not in wanted]
    if not any(key.startswith(prefix) for key in plan.tensors):
        raise InputError(f'{source} ({label}): nothing of the backbone of {model} was loaded')
    if matched and file_classes is not None:
        known = {plain_name(name) for name in file_classes}
        plan.kept = [name for name in classes if plain_name(name) in known]
        plan.fresh = [name for name in classes if plain_name(name) not in known]
    return plan


def _places_of_classes(key, tensor, value, classes, file_classes):
    """See :func:`matched_places`; layers of classes start fresh where the file names none."""
    if file_classes is not None:
        return matched_places(key, tensor.shape, value.shape, file_classes, classes)
    layout = layout_of(key, value.ndim)
    if layout is None or tensor.ndim != value.ndim or \
            layout.dim is None and tensor.shape == value.shape:
        return None
    free = {layout.dim, 1 if layout.columns else None}
    others = [dim for dim in range(value.ndim) if dim not in free]
    return {} if all(tensor.shape[dim] == value.shape[dim] for dim in others) else None


def init_from_settings(setting: str | dict | None) -> dict[str, Any] | None:
    """The ``source`` and perhaps ``classes`` and ``prefix`` of ``init_from``; None for none.

    Raises:
        InputError: it is neither a source nor a dict of these.
    """
    if not setting:
        return None
    settings = dict(source=setting) if isinstance(setting, str) else setting
    if not isinstance(settings, dict) or not isinstance(settings.get('source'), str) or \
            set(settings) - {'source', 'classes', 'prefix'} or \
            not isinstance(settings.get('prefix'), (str, type(None))):
        raise InputError(f'init_from={setting!r}: give a file, URL or name of published weights, '
                         "or dict(source=..., classes=[...], prefix='...')")
    return settings


def _take_places(value, tensor, moved):
    """The model's tensor with the file's values at the places of the same classes."""
    taken = value.detach().clone()
    pairs = [moved.get(dim) or [(place, place) for place in range(size)]
             for dim, size in enumerate(value.shape[:2])]
    old, new = (torch.meshgrid(*(torch.tensor([pair[side] for pair in one]) for one in pairs),
                               indexing='ij') for side in (0, 1))
    taken[new] = tensor[old].to(taken)
    return taken


def classes_of(checkpoint: dict, state: dict) -> list[str] | None:
    """The class names of a file: its own, or COCO's and ADE20K's for the published ones.

    The published files of 80 or 133 detected and 150 segmented classes name none.
    """
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    named = meta['dataset_meta'] if isinstance(meta.get('dataset_meta'), dict) else meta
    for key in ('classes', 'CLASSES'):
        names = named.get(key)
        if isinstance(names, (list, tuple)) and names and all(isinstance(n, str) for n in names):
            return list(names)
    rows = {len(tensor) for key, tensor in state.items()
            if key.endswith(('conv_seg.weight', 'decode_head.cls_embed.weight'))}
    if rows & {150, 151}:
        from mmseg.utils import get_classes
        return list(get_classes('ade20k'))
    rows = {len(tensor) for key, tensor in state.items()
            if key.endswith(_DETECTED)}
    for number, name in ((80, 'coco'), (133, 'coco_panoptic')):
        if rows & {number, number + 1} or number_of_classes(state) == number:
            from mmdet.evaluation import get_classes
            return list(get_classes(name))
    return None
