"""Loading weights of any known format into a model, and saying what was loaded."""
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import nn

from convnext_dense.checkpoints.fetching import locate
from convnext_dense.checkpoints.formats import (
    BACKBONE,
    COMPUTED,
    LEFTOVERS,
    OUTPUT_NORM,
    Found,
    fit,
    from_official,
    other_bands,
    recognise,
    recognise_all,
    to_official,
)
from convnext_dense.checkpoints.lora import ADAPTER, inside_adapters
from convnext_dense.checkpoints.reading import read_checkpoint
from convnext_dense.checkpoints.state_dicts import choose_backbone, some, state_dict_of
from convnext_dense.checkpoints.values import check_values
from convnext_dense.errors import InputError, convert_errors
from convnext_dense.model_wrappers import unwrap


@dataclass
class LoadReport:
    """What became of each tensor of a file and of a model.

    Attributes:
        source, format (str): where the weights came from and how they were named.
        loaded, missing (list[str]): the model's names that got and did not get weights.
        unexpected (list[str]): the file's tensors that the model has no place for.
        reshaped (list[str]): the model's names whose weights came in another shape.
        backbone_only (bool): the model has neck and heads, but the file has none.
    """
    source: str
    format: str
    loaded: list = field(default_factory=list)
    missing: list = field(default_factory=list)
    unexpected: list = field(default_factory=list)
    reshaped: list = field(default_factory=list)
    backbone_only: bool = False

    def __str__(self):
        return (f'weights of {self.source} ({self.format}): {len(self.loaded)} loaded, '
                f'{len(self.missing)} missing, {len(self.unexpected)} unexpected, '
                f'{len(self.reshaped)} reshaped')


def load_weights(model: nn.Module, source: str | Path | dict, prefix: str | None = None,
                 map_location: str | torch.device = 'cpu', allow: Sequence[str] = (),
                 name: str | None = None) -> LoadReport:
    """Load weights of any known format into a backbone, detector or segmenter.

    A backbone takes its part of a detector's weights, and a detector's backbone takes
    classification weights. The classification head and final norm are expected leftovers. The
    model is changed only when everything fits.

    Args:
        model (nn.Module): ConvNeXt, Swin or ResNet backbone, or a model with one in ``backbone``.
        source (str | Path | dict): what :func:`locate` knows (a file, a name, a URL), or the dict
            that :func:`read_checkpoint` returned.
        prefix (str, optional): see :func:`state_dict_of`; known formats need it only where a file
            holds several backbones.
        map_location: device to read to.
        allow (Sequence[str]): regular expressions of tensors of the model or file that may be
            missing, left over or of another shape, such as ``r'roi_head\\.mask_head'``.
        name (str, optional): what messages call a source that is a dict.

    Returns:
        LoadReport: it is also logged, in one line, and its lists at debug level.

    Raises:
        InputError: unreadable; nothing of the backbone loaded; a shape differs; tensors are
            missing or left over; a value is not finite or absurd.
    """
    name = name or ('a dict' if isinstance(source, dict) else str(source))
    checkpoint = source if isinstance(source, dict) else read_checkpoint(
        locate(source), map_location)
    state = state_dict_of(checkpoint, name, prefix)
    model = unwrap(model)
    with convert_errors(name, 'it is damaged, or no model known here'):
        report, fitted = match(model.state_dict(), state, name, type(model).__name__, allow)
    check_values(fitted, name)
    model.load_state_dict(fitted, strict=False)
    print_log(str(report), logger='current')
    if report.backbone_only:
        print_log(f'{name} holds a backbone only: neck and heads of {type(model).__name__} keep '
                  'their initial values', logger='current', level=logging.WARNING)
    for title in ('missing', 'unexpected', 'reshaped'):
        if getattr(report, title):
            print_log(f'{title}: {", ".join(getattr(report, title))}', logger='current',
                      level=logging.DEBUG)
    return report


def match(wanted: dict[str, torch.Tensor], state: dict[str, torch.Tensor], source: str,
          model: str = 'the model',
          allow: Sequence[str] = ()) -> tuple[LoadReport, dict[str, torch.Tensor]]:
    """Find a place in a model for each tensor of a file; see :func:`load_weights`.

    Args:
        wanted (dict): the model's names and tensors.
        state (dict): the file's.
        source, model (str): what messages call them.
        allow (Sequence[str]): see :func:`load_weights`.

    Returns:
        tuple: (LoadReport, dict of the model's names and tensors to load).
    """
    named, heads, target, label = _named(wanted, state, source, model)
    report = LoadReport(source, label)
    allowed = re.compile('|'.join(allow)).search if allow else lambda name: None

    fitted: dict[str, torch.Tensor] = {}
    misfits: list[str] = []
    for key, tensor in named.items():
        if key not in wanted:
            report.unexpected.append(key)
            continue
        value = fit(key, tensor, wanted[key].shape)
        if value is None:
            (report.unexpected if COMPUTED.match(key) else misfits).append(key)
            continue
        fitted[key] = value
        report.loaded.append(key)
        if tensor.shape != wanted[key].shape:
            report.reshaped.append(key)
    report.missing = [key for key in wanted if key not in named]

    report.backbone_only = bool(target) and not heads and any(
        not key.startswith(target.prefix) for key in wanted)
    prefix = target.prefix if target else BACKBONE if any(
        key.startswith(BACKBONE) for key in wanted) else ''
    body = [key for key in report.loaded + misfits if key.startswith(prefix)]
    if not body:
        raise InputError(f'{source} ({label}): nothing of the backbone of {model} was loaded; the '
                         f'file has {some(list(state))}, the model wants '
                         f'{some([key for key in wanted if key.startswith(prefix)])}')
    for key in misfits:
        if not allowed(key):
            raise InputError(f'{source} ({label}): {key} has the shape '
                             f'{tuple(named[key].shape)}, but {model} wants '
                             f'{tuple(wanted[key].shape)}; '
                             + (other_bands(named[key].shape, wanted[key].shape) or
                                'it is another arch or number of classes; for other classes: '
                                'train --init-from takes what fits'))
    _require(source, label, 'lacks', [
        key for key in report.missing if not allowed(key) and
        not _may_miss(key, prefix, report.loaded, heads)], f'which {model} needs')
    _require(source, label, 'has', [
        key for key in report.unexpected if not allowed(key) and
        not _may_remain(key, prefix, target)], f'which {model} has no place for')
    return report, fitted


def rename(wanted: dict[str, torch.Tensor], state: dict[str, torch.Tensor], source: str,
           model: str = 'the model') -> tuple[dict[str, torch.Tensor], Found | None, str]:
    """A file's tensors under a model's names.

    Returns:
        tuple: (dict, the model's format and prefix or None, name of the file's format).

    Raises:
        InputError: the backbones are of different families, or the file holds several.
    """
    named, _, target, label = _named(wanted, state, source, model)
    return named, target, label


def _named(wanted, state, source, model):
    target = recognise(wanted)
    found = choose_backbone(state, source, target)
    label = found.format.name if found else 'unknown'
    if target and found and target.format.family != found.format.family:
        raise InputError(f'{source} holds {found.format.family} weights, but {model} is a '
                         f'{target.format.family}; give the weights of that arch')
    if target is None or found is None or (
            found == target and len(recognise_all(wanted)) > 1):  # a student and its teacher
        return inside_adapters(state, wanted), True, target, label
    named, heads = _rename_all(state, found, target)
    named = inside_adapters(_with_final_norm(named, wanted, target), wanted)
    return named, heads, target, label


def _rename_all(state, found, target):
    """The file's tensors in the model's names, and whether it brings heads, too."""
    backbone, rest = to_official(state, found)
    named = from_official(backbone, target.format, target.prefix)
    # a whole detector into a whole detector; what else a backbone's file has belongs to no place
    heads = found.prefix.endswith(BACKBONE) and target.prefix.endswith(BACKBONE) and any(
        not LEFTOVERS.match(key) for key in rest)
    if heads:
        named.update((target.root + key, tensor) for key, tensor in rest.items())
    return named, heads


def _with_final_norm(named, wanted, target):
    """The file's final norm as the norm of the last stage, where no other output has a norm.

    A model with norms at several outputs starts all of them afresh, as the published recipes do.
    """
    norms = {key for key in wanted if key.startswith(target.prefix + 'norm')
             and OUTPUT_NORM.match(key[len(target.prefix):])}
    stages = [int(found[1]) for key in wanted for found in
              [re.match(re.escape(target.prefix) + r'stages\.(\d+)\.', key)] if found]
    own = f'{target.prefix}norm{max(stages, default=-1)}.'
    if norms and all(key.startswith(own) for key in norms) and not norms & set(named):
        final = target.prefix + 'norm.'
        return {own + key[len(final):] if key.startswith(final) else key: tensor
                for key, tensor in named.items()}
    return named


def _may_miss(key, prefix, loaded, heads):
    if COMPUTED.match(key) or ADAPTER.search(key):  # weights are read merged
        return True
    if not key.startswith(prefix):
        return not heads  # a backbone's file loaded into a detector
    # classification weights have no output norms: all of them start fresh, or none
    return bool(OUTPUT_NORM.match(key[len(prefix):])) and not any(
        OUTPUT_NORM.match(name[len(prefix):]) for name in loaded if name.startswith(prefix))


def _may_remain(key, prefix, target):
    if key.startswith('ema_'):  # OpenMMLab's averaged copy, in its older versions
        return True
    head = target and target.format.head
    return key.startswith(prefix) and bool(LEFTOVERS.match(key[len(prefix):])) or bool(
        head and key.startswith(head.split('{')[0])) or bool(COMPUTED.match(key))


def _require(source, label, verb, keys, why):
    if keys:
        raise InputError(f'{source} ({label}) {verb} {some(keys)}, {why}; it is damaged, or of '
                         'another arch or version')
