"""Types that do not exist and arguments that their classes do not take, with the nearest name."""
from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from convnext_dense.config_nodes import type_name
from convnext_dense.datasets.splits import default_scope

if TYPE_CHECKING:
    from mmengine.config import Config

#: kind of a part -> mmengine's registry of its types
REGISTRIES = dict(model='MODELS', hook='HOOKS', optimizer='OPTIMIZERS', wrapper='OPTIM_WRAPPERS',
                  schedule='PARAM_SCHEDULERS', loop='LOOPS', sampler='DATA_SAMPLERS',
                  transform='TRANSFORMS', metric='METRICS')
#: parts for which nothing chooses a type
TYPED = ('custom_hooks', 'val_evaluator', 'test_evaluator', 'optim_wrapper.optimizer',
         'train_dataloader.sampler', 'val_dataloader.sampler', 'test_dataloader.sampler')
#: what a config file may hold; anything else was built already
PLAIN = (dict, list, tuple, str, bytes, bool, int, float)
#: keys of model parts whose dicts go to functions that take or add arguments of their own
FUNCTIONS = ('norm_cfg', 'conv_cfg', 'act_cfg', 'upsample_cfg', 'init_cfg', 'dcn', 'plugins',
             'roi_layer', 'nms', 'train_cfg', 'test_cfg', 'ffn_cfgs', 'attn_cfgs')
#: arguments that whoever builds a part adds or takes out
BUILDERS = dict(optimizer={'params'}, loop={'by_epoch'}, schedule={'convert_to_iter_based'},
                wrapper={'constructor', 'paramwise_cfg', 'optimizer'}, hook={'priority'})
LOADER = {'dataset', 'sampler', 'batch_sampler', 'collate_fn', 'num_batch_per_epoch',
          'worker_init_fn'}


def class_of(node: dict, kind: str, cfg: Config) -> type | None:
    """The class that a part of a config names, or None.

    Args:
        node (dict): the part.
        kind (str): of :data:`REGISTRIES`.
        cfg (mmengine.Config): the whole config, whose scope holds.
    """
    name = node.get('type')
    if not isinstance(name, str):
        return name if isinstance(name, type) else None
    from mmengine import registry
    root = getattr(registry, REGISTRIES[kind])
    try:
        with default_scope(cfg), root.switch_scope_and_registry(None) as found:
            return found.get(name)
    except (KeyError, ImportError):
        return None


def check_arguments(cfg: Any, training: bool) -> Iterator[str]:
    """A message for each type that does not exist and each argument that is not taken.

    Args:
        cfg (mmengine.Config): the config.
        training (bool): look at what only training needs, too.
    """
    yield from _check_typed(cfg, training)
    for kind, key, node in parts(cfg, training):
        if not isinstance(node['type'], str) and not callable(node['type']):
            yield f'{key}.type={node["type"]!r}; expected the name of a class'
        if not isinstance(node['type'], (str, type)):
            continue
        found = class_of(node, kind, cfg)
        if found is None:
            if kind != 'model' and isinstance(node.get('type'), str):
                yield (f'{key}: there is no type {node["type"]!r}'
                       + _nearest(type_name(node), _names(kind, cfg)))
            continue
        taken, open_ended = parameters(found)
        for name in node:
            if name in taken or name == 'type' or name in BUILDERS.get(kind, ()):
                continue
            hint = _nearest(name, taken)
            if hint or not open_ended:
                yield f'{key}: {type_name(node)} takes no argument {name!r}{hint}'
    for name in ('train', 'val', 'test') if training else ('test', ):
        yield from _check_loader(f'{name}_dataloader', cfg.get(f'{name}_dataloader'))


def parts(cfg: Config, training: bool) -> Iterator[tuple[str, str, dict]]:
    """(kind, key, dict) of the parts of a config that name a type."""
    model = cfg.get('model')
    yield from _nested_parts('model', 'model', model)
    hooks = cfg.get('default_hooks')
    for key, node in hooks.items() if isinstance(hooks, dict) else ():
        yield from _part('hook', f'default_hooks.{key}', node)
    yield from _parts('hook', 'custom_hooks', cfg.get('custom_hooks'))
    for name in ('val', 'test'):
        yield from _parts('metric', f'{name}_evaluator', cfg.get(f'{name}_evaluator'))
        yield from _part('loop', f'{name}_cfg', cfg.get(f'{name}_cfg'))
    for name in ('train', 'val', 'test'):
        loader = cfg.get(f'{name}_dataloader')
        if isinstance(loader, dict):
            for key in ('sampler', 'batch_sampler'):
                yield from _part('sampler', f'{name}_dataloader.{key}', loader.get(key))
            dataset = loader.get('dataset')
            if isinstance(dataset, dict):
                yield from _parts('transform', f'{name}_dataloader.dataset.pipeline',
                                  dataset.get('pipeline'))
    if training:
        wrapper = cfg.get('optim_wrapper')
        if isinstance(wrapper, dict):
            yield from _part('wrapper', 'optim_wrapper', dict(dict(type='OptimWrapper'), **wrapper))
            yield from _part('optimizer', 'optim_wrapper.optimizer', wrapper.get('optimizer'))
        yield from _parts('schedule', 'param_scheduler', cfg.get('param_scheduler'))
        yield from _part('loop', 'train_cfg', cfg.get('train_cfg'))


def parameters(found: Callable) -> tuple[set[str], bool]:
    """Names of the arguments of a class, and whether it hands others on to where nobody knows.

    Args:
        found (Callable): a class, or a function that builds.

    Returns:
        tuple[set[str], bool]
    """
    names: set = set()
    kinds = found.__mro__ if isinstance(found, type) else [found]
    open_ended = False
    for kind in kinds:
        call = kind.__dict__.get('__init__') if isinstance(found, type) else kind
        if call is None:
            continue
        try:
            given = list(inspect.signature(call).parameters.values())
        except (TypeError, ValueError):
            return names, True
        names |= {one.name for one in given if one.kind in (
            one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
        if not any(one.kind == one.VAR_KEYWORD for one in given):
            break
        open_ended = True
    return names - {'self'}, open_ended


def _check_typed(cfg, training):
    """A message for each part that must say what it is and does not."""
    for key in TYPED if training else ('custom_hooks', 'test_evaluator'):
        outer, _, last = key.rpartition('.')
        holder = cfg.get(outer) if outer else cfg
        if outer and not isinstance(holder, dict):
            continue
        nodes = holder.get(last)
        several = isinstance(nodes, (list, tuple))
        for number, part in enumerate(nodes if several else [] if nodes is None else [nodes]):
            where = f'{key}.{number}' if several else key
            if isinstance(part, PLAIN) and (not isinstance(part, dict) or part.get('type') is None
                                            and 'metrics' not in part):
                yield f'{where}={part!r}; expected a dict with a type'


def _part(kind, key, node):
    if isinstance(node, dict) and node.get('type') is not None:
        yield kind, key, node


def _parts(kind, key, nodes):
    several = isinstance(nodes, (list, tuple))
    for number, node in enumerate(nodes if several else [nodes]):
        yield from _part(kind, f'{key}.{number}' if several else key, node)


def _nested_parts(kind, key, node):
    if isinstance(node, (list, tuple)):
        for number, child in enumerate(node):
            yield from _nested_parts(kind, f'{key}.{number}', child)
    elif isinstance(node, dict):
        yield from _part(kind, key, node)
        for name, child in node.items():
            if name not in FUNCTIONS:
                yield from _nested_parts(kind, f'{key}.{name}', child)


def _check_loader(key, loader):
    if not isinstance(loader, dict):
        return
    from torch.utils.data import DataLoader
    taken = parameters(DataLoader)[0] | LOADER
    for name in loader:
        if name not in taken:
            yield f'{key}: a data loader takes no argument {name!r}{_nearest(name, taken)}'


def _names(kind, cfg):
    from mmengine import registry
    root = getattr(registry, REGISTRIES[kind])
    with default_scope(cfg), root.switch_scope_and_registry(None) as found:
        names = set(found.module_dict)
        while found.parent is not None:
            found = found.parent
            names |= set(found.module_dict)
        return names | set(root.children.get('convnext_dense', root).module_dict)


def _nearest(name, names):
    found = difflib.get_close_matches(str(name), [str(one) for one in names], 1, .6)
    return f'; did you mean {found[0]!r}?' if found else ''
