"""What the keys at the top of a config may hold, looked at before anything else.

Whatever works on a config may then take a dict for a dict, and no error is put down to the part
that met it first.
"""
from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from convnext_dense.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

#: what a config file may hold; parts that were built already are the business of whoever built them
PLAIN = (dict, list, tuple, set, str, bytes, bool, int, float)
DICT = ((dict, ), 'a dict')
SEVERAL = ((dict, list, tuple), 'a dict, or a list of them')
TEXT, FLAG = ((str, ), 'a text'), ((bool, ), 'True or False')
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys((
        'model', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg', 'val_cfg',
        'test_cfg', 'optim_wrapper', 'default_hooks', 'visualizer', 'env_cfg', 'env_cfg.dist_cfg',
        'env_cfg.mp_cfg', 'log_processor', 'randomness', 'bad_images', 'not_finite',
        'auto_scale_lr', 'tta_model', 'model_wrapper_cfg', 'data_preprocessor', 'parallel'), DICT),
    **dict.fromkeys(('param_scheduler', 'val_evaluator', 'test_evaluator'), SEVERAL),
    **dict.fromkeys(('custom_hooks', 'tta_pipeline'), ((list, tuple), 'a list')),
    **dict.fromkeys(('load_from', 'default_scope', 'work_dir', 'launcher', 'runner_type',
                     'sync_bn'), TEXT),
    **dict.fromkeys(('resume', 'progress', 'find_unused_parameters'), FLAG),
    'log_level': ((str, int), 'the name of a level, such as INFO'),
}
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def check_top_level(cfg: Config) -> None:
    """Raise InputError for the first key at the top of a config that holds another kind of value.

    Args:
        cfg (mmengine.Config): the config.
    """
    for text in top_level_problems(cfg):
        raise InputError(text)


def top_level_problems(cfg: Config) -> Iterator[str]:
    """A line for each key that holds what nothing can work with."""
    for key, (kinds, words) in KINDS.items():
        value = _value(cfg, key)
        if isinstance(value, PLAIN) and not (
                isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))):
            yield f'{key}={value!r}; expected {words}'
    level = cfg.get('log_level', 'INFO')
    if level is None or isinstance(level, str) and not isinstance(logging.getLevelName(level), int):
        yield f'log_level={level!r}; expected the name of a level: DEBUG, INFO, WARNING or ERROR'
    if isinstance(cfg.get('launcher'), str) and cfg.get('launcher') not in LAUNCHERS:
        yield f'launcher={cfg.get("launcher")!r}; expected one of {", ".join(LAUNCHERS)}'
    yield from _refusals(cfg)


def _value(cfg: Any, key: str) -> Any:
    outer, _, inner = key.partition('.')
    value = cfg.get(outer)
    return value if not inner else value.get(inner) if isinstance(value, dict) else None


def _refusals(cfg):
    """What those say who read a key of this toolkit's own."""
    if cfg.get('acceleration') is not None or cfg.get('compile') is not None:
        from convnext_dense.acceleration import Acceleration
        try:
            Acceleration.from_config(cfg.get('acceleration'), cfg.get('compile'))
        except InputError as error:
            yield str(error)
    if cfg.get('parallel') is not None:
        from convnext_dense.parallel import parallel_settings
        try:
            parallel_settings(cfg.get('parallel'))
        except InputError as error:
            yield str(error)
    if cfg.get('init_from') is not None:
        from convnext_dense.checkpoints.fine_tuning import init_from_settings
        try:
            init_from_settings(cfg.get('init_from'))
        except InputError as error:
            yield str(error)
