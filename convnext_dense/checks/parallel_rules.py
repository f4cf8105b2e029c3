"""Rules about several processes that train one model: what ``parallel`` does not go with."""
from collections.abc import Iterator
from typing import Any

from convnext_dense.checks.rule import Settings
from convnext_dense.config_nodes import type_name
from convnext_dense.parallel import DdpSettings, FsdpSettings, parallel_settings

#: optimizer wrappers of mixed precision
MIXED_PRECISION = ('AmpOptimWrapper', 'Bfloat16OptimWrapper')


def strategies(settings: Settings) -> Iterator[str]:
    """A strategy beside settings that it cannot work with."""
    cfg = settings.cfg
    if not settings.training or cfg.get('parallel') is None:
        return
    parallel = parallel_settings(cfg.get('parallel'))
    if cfg.get('model_wrapper_cfg') is not None:
        yield ('parallel and model_wrapper_cfg both say how the processes work together; take one '
               'of them')
    if isinstance(parallel, FsdpSettings):
        yield from _of_fsdp(cfg, parallel)
    else:
        yield from _of_ddp(cfg, parallel)


def _of_ddp(cfg: Any, parallel: DdpSettings) -> Iterator[str]:
    if parallel.static_graph and cfg.get('find_unused_parameters'):
        yield ('parallel.static_graph=True finds unused parameters in the first step; leave out '
               'find_unused_parameters')
    count = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    if parallel.static_graph and count != 1:
        yield (f'parallel.static_graph=True with optim_wrapper.accumulative_counts={count}: the '
               'steps without an exchange of gradients are another graph; leave one of them out')


def _of_fsdp(cfg: Any, parallel: FsdpSettings) -> Iterator[str]:
    if cfg.get('launcher') == 'none':
        yield ("parallel.type='fsdp' shares a model out between processes, but this run is one "
               'process: start it with --gpus N, torchrun or SLURM, or leave parallel out')
    if cfg.get('lora'):
        yield ("parallel.type='fsdp' and lora do not go together: adapters are small, use "
               "type='ddp'")
    if cfg.get('find_unused_parameters'):
        yield ("parallel.type='fsdp' exchanges the gradients of whole groups, so that every step "
               "must use all parameters; use type='ddp' with find_unused_parameters")
    acceleration = cfg.get('acceleration')
    acceleration = acceleration if isinstance(acceleration, dict) else {}
    if cfg.get('compile') or acceleration.get('compile') or acceleration.get('cuda_graphs'):
        yield ("parallel.type='fsdp' and compile or cuda_graphs do not go together here; leave "
               "them out, or use type='ddp'")
    if acceleration.get('ops', 'torch') != 'torch':
        yield (f"parallel.type='fsdp' and acceleration.ops={acceleration['ops']!r}: FSDP2's hooks "
               "need blocks in torch's own operators; leave ops out, or use type='ddp'")
    wrapper = cfg.get('optim_wrapper') or {}
    if parallel.param_dtype and type_name(wrapper) not in MIXED_PRECISION:
        yield (f'parallel.param_dtype={parallel.param_dtype!r} needs a training in mixed '
               f'precision (--amp), but optim_wrapper is {type_name(wrapper) or "OptimWrapper"}')
    if 'optimizer' not in wrapper and wrapper:
        yield ("parallel.type='fsdp' works with one optimizer, but optim_wrapper has "
               f'{", ".join(map(str, wrapper))}')
