"""Fitting a config to the device that it will run on; each function changes it in place."""
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from convnext_dense.config_nodes import SYNCHRONISED_NORMS, nested, type_name
from convnext_dense.errors import InputError

#: boxes from which on a call a level or class takes less time than one for all
MOST_BOXES_AT_ONCE = 500


def set_device(cfg: Config, device: str) -> None:
    """Fit the config to the device that will be used.

    A CPU has no SyncBN and no NCCL: they become BN and gloo; mixed precision is bfloat16 there, if
    the config says so or a measured check finds that it pays, else it is off. On a GPU, it is
    bfloat16 where the GPU computes in it, else float16 with a loss scaler as published;
    convolutions work on channels-last maps, and SyncBN stays only where there are several
    processes. With either, predictions are in float32. AdamW is the fused one. On a CPU the time
    of NMS grows with the square of the boxes, so that of many boxes, of which only those of the
    same level or class suppress one another, is split.

    Args:
        device (str): ``cpu`` or ``cuda``.
    """
    changed = _fit_to_cpu(cfg) if device == 'cpu' else _fit_to_gpu(cfg)
    changed |= _fuse_adamw(cfg)
    if changed:
        print_log(f'on a {"CPU" if device == "cpu" else "GPU"}: {", ".join(sorted(changed))}',
                  logger='current')


def _fit_to_cpu(cfg):
    changed = _replace_syncbn(cfg)
    for node in nested(cfg.model):
        nms = node.get('nms')
        if isinstance(nms, dict) and type_name(nms) == 'nms' and 'split_thr' not in nms:
            nms['split_thr'] = MOST_BOXES_AT_ONCE
            changed.add(f'NMS of {MOST_BOXES_AT_ONCE} boxes and more is split by level or class')
    wrapper = cfg.get('optim_wrapper') or {}
    if type_name(wrapper) == 'AmpOptimWrapper':
        on, why = _bfloat16_on_cpu(wrapper.get('dtype'))
        cfg.optim_wrapper = ConfigDict(
            {key: value for key, value in wrapper.items()
             if key not in ('loss_scale', 'dtype', 'use_fsdp')},
            type='convnext_dense.Bfloat16OptimWrapper' if on else 'OptimWrapper')
        if on:
            _predict_in_float32(cfg)
        changed.add(why)
    dist_cfg = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
    if dist_cfg.get('backend') == 'nccl':
        dist_cfg['backend'] = 'gloo'
    return changed


def _fit_to_gpu(cfg):
    changed = _replace_syncbn(cfg) if cfg.get('launcher', 'none') == 'none' else set()
    wrapper = cfg.get('optim_wrapper') or {}
    if type_name(wrapper) == 'AmpOptimWrapper':
        _predict_in_float32(cfg)
        if 'dtype' not in wrapper:
            dtype = 'bfloat16' if _computes_in_bfloat16() else 'float16'
            wrapper['dtype'] = dtype
            if dtype == 'bfloat16':
                wrapper['loss_scale'] = dict(enabled=False)  # it has the range of float32
            changed.add(f'AMP in {dtype}')
    return changed


def _bfloat16_on_cpu(dtype):
    """Whether a CPU trains with mixed precision in ``dtype`` (None: as it likes), and a phrase."""
    name = str(dtype).removeprefix('torch.')
    if name == 'bfloat16':
        return True, 'AMP in bfloat16, as the config says'
    if name == 'float16':
        return False, 'AMP is off: a CPU does not train in float16'
    pays, why = _bfloat16_pays_on_cpu()
    if pays:
        return True, f'AMP in bfloat16: {why}'
    return False, f"AMP is off: {why} (optim_wrapper.dtype='bfloat16' turns it on)"


def _bfloat16_pays_on_cpu():
    """Whether this CPU is faster in bfloat16 by so much that models are, too, and a phrase."""
    from convnext_dense.bfloat16_gain import PAYS_FROM, bfloat16_gain
    gain = bfloat16_gain()
    return gain >= PAYS_FROM, (f'this CPU multiplies {gain:.1f} times as fast in it, which pays '
                               f'from {PAYS_FROM:g} on')


def _predict_in_float32(cfg):
    acceleration = cfg.get('acceleration')
    if acceleration is not False:
        given = acceleration if isinstance(acceleration, dict) else {}
        cfg.acceleration = dict(dict(float32_predictions=True), **given)


def _fuse_adamw(cfg):
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    if type_name(optimizer) != 'AdamW' or {'fused', 'foreach'} & set(optimizer):
        return set()
    optimizer['fused'] = True
    return {'AdamW is fused'}


def _replace_syncbn(cfg):
    changed = set()
    for node in nested(cfg.model):
        if type_name(node) in SYNCHRONISED_NORMS:
            node['type'] = 'BN'
            changed.add('SyncBN became BN')
    return changed


def _computes_in_bfloat16():
    import torch
    return torch.cuda.is_bf16_supported(including_emulation=False)


def is_mixed_precision(cfg: Config) -> bool:
    """Whether a config, fitted to its device, trains with mixed precision."""
    return type_name(cfg.get('optim_wrapper') or {}) in ('AmpOptimWrapper', 'Bfloat16OptimWrapper')


def enable_amp(cfg: Config) -> None:
    """Train with automatic mixed precision; :func:`set_device` chooses its type."""
    cfg.optim_wrapper.type = 'AmpOptimWrapper'


def enable_amp_tests(cfg: Config, device: str) -> None:
    """Test in bfloat16 where that is faster, else say why not.

    Args:
        device (str): ``cpu`` or ``cuda``.
    """
    if cfg.get('acceleration') is False:
        raise InputError('--amp: the config says acceleration=False, which leaves the model in '
                         'float32; take one of the two')
    on, why = _bfloat16_pays_on_cpu() if device == 'cpu' else (
        _computes_in_bfloat16(), 'this GPU does not compute in it')
    if on:
        given = cfg.acceleration if isinstance(cfg.get('acceleration'), dict) else {}
        cfg.acceleration = dict(given, bfloat16=True)
    print_log('testing in bfloat16' if on else f'testing in float32, not bfloat16: {why}',
              logger='current')
