"""The folder of ``compare --data``: one project as ``new`` makes it, and a config for each model.

The configs change the backbone, what starts it and the channels that follow from it, alone.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

from convnext_dense.config import load_config
from convnext_dense.errors import InputError
from convnext_dense.files import atomic_write
from convnext_dense.planning.backbones import Backbone, backbone_named

#: options that shape data and recipe, which a second call keeps
KEPT = ('data', 'format', 'classes', 'colours', 'task', 'size', 'batch', 'iters', 'weights',
        'device')
SETTINGS = 'study.json'


def choose_weights(models: Sequence[Backbone], wanted: Sequence[str], folder: Path,
                   say: Callable[[str], object]) -> dict[str, str]:
    """What each backbone starts from; those that start from nothing are left out.

    Args:
        models: that are compared.
        wanted: ``['auto']``, ``['none']``, or ``MODEL=SOURCE`` for some of them.
        folder: where an earlier call may have chosen.
        say: gets a line where ``auto`` finds none.

    Raises:
        InputError: weights for a model that is not compared, or an unknown source.
    """
    from convnext_dense.checkpoints.fetching import check_source
    if list(wanted) == ['none']:
        return {}
    if list(wanted) == ['auto']:
        kept = read_settings(folder)
        return _published_weights(models, say) if kept is None else _same_start(
            models, kept['started'], folder)
    names = [model.name for model in models]
    weights = {}
    for pair in wanted:
        name, equals, source = pair.partition('=')
        if not equals or not source or backbone_named(name, '--weights').name not in names:
            raise InputError(f'--weights {pair}: give auto, none, or MODEL=SOURCE with a MODEL of '
                             f'{", ".join(names)}')
        check_source(source)
        path = Path(source).expanduser()
        weights[backbone_named(name).name] = str(path.resolve()) if path.is_file() else source
    return weights


def _published_weights(models, say):
    """Of all models, or of none: a comparison of both would say little of the backbones."""
    found = {}
    for model in models:
        if not model.weights or not _can_be_had(model.weights):
            why = f'has weights ({model.weights}) that cannot be had here' if model.weights else \
                'has no published weights'
            say(f'weights: every backbone starts from nothing: {model.name} {why}')
            return {}
        found[model.name] = model.weights
    return found


def _can_be_had(source):
    from convnext_dense.checkpoints.fetching import locate
    from convnext_dense.planning.weights import can_be_had
    if '://' not in source:
        return can_be_had(source)
    try:
        return bool(locate(source))
    except InputError:
        return False


def _same_start(models, started, folder):
    """The weights of models that join later."""
    if not started:
        return {}
    without = next((model for model in models if not model.weights), None)
    if without:
        raise InputError(f'{without.name} has no published weights, from which those in {folder} '
                         'start; give another folder with --out, and --weights none')
    return {model.name: model.weights for model in models}


def make_shared_project(folder: Path, wanted: Mapping[str, Any], weights: Mapping[str, str]
                        ) -> list[str]:
    """Make the data and the config that all models share, unless an earlier call did.

    Args:
        folder: of the comparison.
        wanted: the options of ``KEPT``; ``data`` is the source.
        weights: by model.

    Returns:
        Lines to print: what was found and decided; none where an earlier call did it.

    Raises:
        InputError: the source is broken, or the earlier call had other options.
    """
    from convnext_dense.datasets.importers.options import Options, class_names, parse_colours
    from convnext_dense.planning.project import make_project
    source = Path(wanted['data']).expanduser()
    wanted = dict(wanted, data=str(source.resolve()))
    kept = read_settings(folder)
    if kept is not None:
        for key in KEPT:
            if kept.get(key) != wanted[key]:
                raise InputError(f'{folder}: made with --{key} {_shown(kept.get(key))}, not '
                                 f'{_shown(wanted[key])}; give another folder with --out')
        return []
    if (folder / 'project').exists():
        raise InputError(f'{folder / "project"} is there without {folder / SETTINGS}; remove it, '
                         'or give another folder with --out')
    options = Options(
        classes=class_names(wanted['classes']) if wanted['classes'] else None,
        colours=parse_colours(wanted['colours']) if wanted['colours'] else None)
    project = make_project(
        folder / 'project', source, wanted['format'], options,
        weights=next(iter(weights.values()), 'none'), device=wanted['device'],
        batch=wanted['batch'], size=wanted['size'], task=wanted['task'], max_iters=wanted['iters'])
    with atomic_write(folder / SETTINGS) as partial:
        partial.write_text(json.dumps(dict(wanted, started=weights, images=dict(
            width=project.data.width, height=project.data.height, val=project.data.val,
            scale=project.plan.scale)), indent=2))
    return [line for line in project.lines()[:-3] if not line.startswith(('model:', 'weights:'))]


def write_configs(folder: Path, models: Sequence[Backbone],
                  weights: Mapping[str, str]) -> dict[str, Path]:
    """Write the config of each model.

    Args:
        folder: of the comparison, with its ``project``.
        models: that are compared.
        weights: by model.

    Returns:
        The files by model.
    """
    base = load_config(folder / 'project' / 'config.py')
    rate = base.model.backbone.get('drop_path_rate', 0.)
    configs = {}
    (folder / 'configs').mkdir(exist_ok=True)
    for model in models:
        channels = list(model.channels)
        parts: dict[str, dict] = dict(backbone=dict(
            _delete_=True, **model.starting_from(weights.get(model.name), rate)))
        if 'neck' in base.model:
            parts['neck'] = dict(in_channels=channels)
        else:
            parts['decode_head'] = dict(in_channels=channels)
            parts['auxiliary_head'] = dict(
                in_channels=channels[base.model.auxiliary_head.in_index])
        configs[model.name] = folder / 'configs' / f'{model.name}.py'
        with atomic_write(configs[model.name]) as partial:
            partial.write_text(
                f'"""{model.name}, written by `convnext-dense compare --data`."""\n'
                "_base_ = '../project/config.py'\n\n"
                f'model = {pformat(parts, width=96, sort_dicts=False)}\n', encoding='utf-8')
    return configs


def image_size(folder: Path) -> tuple[int, int]:
    """Median width and height of the images as the models see them."""
    images = (read_settings(folder) or {})['images']
    long, short = images['scale']
    width, height = images['width'], images['height']
    factor = min(long / max(width, height), short / min(width, height))
    return round(width * factor), round(height * factor)


def read_settings(folder: Path) -> dict[str, Any] | None:
    """What an earlier call wrote down, or None.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text())
        if isinstance(kept, dict) and {*KEPT, 'started', 'images'} <= set(kept):
            return kept
    except (ValueError, RecursionError):
        pass
    raise InputError(f'{path}: not the options of a comparison; remove {folder}, or give another '
                     'folder with --out')


def _shown(value):
    return ' '.join(map(str, value)) if isinstance(value, list) else str(value)
