"""Reading a config and fitting it to the command line and the machine.

Each function changes the given config in place and does one thing, so that a script can do what
the commands do.
"""
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from convnext_dense.classes import LOADERS, apply_classes
from convnext_dense.config_files import find_config
from convnext_dense.data_root import set_data_root as set_data_root
from convnext_dense.errors import InputError, convert_errors
from convnext_dense.registry import SCOPE  # its import lets mmengine find convnext_dense::...

#: boxes from which on a call a level or class takes less time than one for all
MOST_BOXES_AT_ONCE = 500
#: ``init_cfg`` that reads a file, by name and by class
PRETRAINED = ('Pretrained', 'PretrainedInit')
#: batch norms of several processes, by name and by class
SYNCHRONISED_NORMS = ('SyncBN', 'MMSyncBN', 'SyncBatchNorm')
#: what mmengine's runner and this toolkit read, whether a config has it or not
TOP_LEVEL_KEYS = (
    'model', 'work_dir', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg',
    'val_cfg', 'test_cfg', 'auto_scale_lr', 'optim_wrapper', 'param_scheduler', 'val_evaluator',
    'test_evaluator', 'default_hooks', 'custom_hooks', 'data_preprocessor', 'load_from', 'resume',
    'launcher', 'env_cfg', 'log_processor', 'log_level', 'visualizer', 'default_scope',
    'randomness', 'experiment_name', 'runner_type', 'custom_imports', 'model_wrapper_cfg',
    'find_unused_parameters', 'sync_bn', 'tta_model', 'tta_pipeline', 'bad_images', 'not_finite',
    'acceleration', 'compile', 'memory_format', 'classes', 'init_from', 'freeze', 'lora',
    'progress')


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Read a config file. A config is Python code and runs when it is read.

    A top-level ``classes = ('cat', 'dog')`` goes to all data sets, and the heads' numbers of
    classes follow the training data; see :func:`convnext_dense.classes.apply_classes`.

    Args:
        path (str | Path): the file, or a name that :func:`find_config` knows.
        options (dict, optional): overrides, keys like ``model.backbone.drop_path_rate``.

    Raises:
        InputError: the file is missing, does not parse, or an override does not fit.
    """
    path = find_config(path)
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is code: anything can go wrong in it
        raise InputError(f'config {path} does not parse: {type(error).__name__}: '
                         f'{_first_line(error)}') from error
    check_option_keys(cfg, options or {})
    try:
        cfg.merge_from_dict(options or {})
    except Exception as error:
        raise InputError(f'--cfg-options {options} does not fit {path}: '
                         f'{_first_line(error)}') from error
    for node in nested(cfg._cfg_dict):
        # mmengine marks what comes from a base 'convnext_dense::...' with this scope, where only
        # the toolkit's own classes are: the configs are written for their default_scope
        if node.get('_scope_') == SCOPE:
            del node['_scope_']
    with convert_errors(f'config {path}: classes of the data sets and heads',
                        'correct metainfo.classes and num_classes'):
        apply_classes(cfg)
    return cfg


def check_option_keys(cfg: Config, options: dict[str, Any]) -> None:
    """Raise InputError for an override whose first key looks like a misspelt one.

    Args:
        cfg (mmengine.Config): the config.
        options (dict): overrides, keys like ``train_cfg.max_iters``.
    """
    known = {*cfg, *TOP_LEVEL_KEYS}
    for option in options:
        key = option.partition('.')[0]
        near = get_close_matches(key, known, 1, .75)
        if key not in known and near:
            raise InputError(f'--cfg-options {option}: the config has no {key!r}; did you mean '
                             f'{near[0]!r}?')
        if key not in known:
            print_log(f'--cfg-options {option}: neither the config nor the toolkit knows {key!r}',
                      'current', 30)


def _first_line(error):
    return (str(error).strip().splitlines() or ['no message'])[0]


def nested(node: Any) -> Iterator[dict]:
    """Every dict inside ``node``, itself included."""
    if isinstance(node, dict):
        yield node
        node = node.values()
    elif not isinstance(node, (list, tuple)):
        return
    for child in node:
        yield from nested(child)


def type_name(node: Any) -> str | None:
    """The name of a config's ``type`` without scope or module, or None.

    A type may be a string (``'mmdet.DetDataSample'``, ``'CocoDataset'``), or the class itself in
    mmengine's pure-Python configs. Every comparison of types in the package asks here.
    """
    kind = node.get('type') if isinstance(node, dict) else None
    if isinstance(kind, str):
        return kind.rpartition('.')[2]
    return getattr(kind, '__name__', None)


def full_type_name(node: Mapping) -> str:
    """The text of a config's ``type``: a string as written, a class with its module, else ''."""
    kind = node.get('type')
    return kind if isinstance(kind, str) else '' if kind is None else \
        f'{getattr(kind, "__module__", "")}.{getattr(kind, "__name__", kind)}'


def set_work_dir(cfg: Config, work_dir: str | Path | None) -> None:
    """Work directory: the option, or the config's own, or ``work_dirs/<name of the config>``."""
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(
        Path('work_dirs') / Path(cfg.filename).stem)


def set_init_from(cfg: Config, source: str | None = None,
                  classes: Sequence[str] | None = None) -> None:
    """Start from a file of other classes, which takes the place of the backbone's weights.

    Args:
        cfg (Config): its ``init_from`` is kept where ``source`` is None.
        source (str, optional): a file, URL or name of published weights.
        classes (Sequence[str], optional): the file's class names, or one text file of them.

    Raises:
        InputError: ``load_from`` is set as well, or there are classes without a source.
    """
    if classes and not source:
        raise InputError('--init-classes names the classes of --init-from SOURCE; give that, too')
    if source:
        if classes and len(classes) == 1 and Path(classes[0]).is_file():
            classes = Path(classes[0]).read_text(encoding='utf-8').split('\n')
        classes = [name.strip() for name in classes or [] if name.strip()] or None
        cfg.init_from = dict(source=str(source), classes=classes)
    if not cfg.get('init_from'):
        return
    if cfg.get('load_from') and not cfg.get('resume'):
        raise InputError(f'load_from={cfg.load_from!r} and init_from are both set; take one: '
                         'load_from for the same classes, init_from for others')
    # the weights that it would fetch are overwritten
    backbone = cfg.get('model', {}).get('backbone')
    init_cfg = backbone.get('init_cfg') if backbone else None
    if type_name(init_cfg) in PRETRAINED:
        backbone.init_cfg = None


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
    from convnext_dense.bfloat16_gain import PAYS_FROM, bfloat16_gain
    name = str(dtype).removeprefix('torch.')
    if name == 'bfloat16':
        return True, 'AMP in bfloat16, as the config says'
    if name == 'float16':
        return False, 'AMP is off: a CPU does not train in float16'
    gain = bfloat16_gain()
    if gain >= PAYS_FROM:
        return True, f'AMP in bfloat16, in which this CPU multiplies {gain:.1f} times as fast'
    return False, (f'AMP is off: this CPU multiplies {gain:.1f} times as fast in bfloat16, and '
                   f"from {PAYS_FROM:g} on it pays (optim_wrapper.dtype='bfloat16' turns it on)")


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
    on, why = _bfloat16_on_cpu(None) if device == 'cpu' else (
        _computes_in_bfloat16(), 'this GPU does not compute in bfloat16')
    if on:
        given = cfg.acceleration if isinstance(cfg.get('acceleration'), dict) else {}
        cfg.acceleration = dict(given, bfloat16=True)
    print_log('testing in bfloat16' if on else f'testing in float32: {why}', logger='current')


def enable_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate by the ratio of the real to the recipe's batch size."""
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise InputError('--auto-scale-lr: the config has no auto_scale_lr=dict('
                         'base_batch_size=...) that says which batch size its lr is for')
    cfg.auto_scale_lr.enable = True


def enable_tta(cfg: Config) -> None:
    """Test with the config's own test-time augmentation."""
    missing = [key for key in ('tta_model', 'tta_pipeline') if key not in cfg]
    if missing:
        raise InputError(f'--tta: the config has no {" and no ".join(missing)}')
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(cfg.tta_model, module=cfg.model)


def enable_images(cfg: Config, show: bool = False, show_dir: str | None = None,
                  wait_time: float = 2.) -> None:
    """Draw predictions while testing: on the screen, or as files below ``show_dir``."""
    hook = cfg.default_hooks.get('visualization')
    if not hook:
        raise InputError('--show and --show-dir need default_hooks.visualization in the config')
    hook.draw = True
    hook.show = show
    hook.wait_time = wait_time
    if show_dir:
        if type_name(hook) == 'DetVisualizationHook':
            hook.test_out_dir = show_dir
        else:
            cfg.visualizer.save_dir = show_dir


def keep_predictions(cfg: Config, out: str) -> None:
    """Write the predictions to ``out``.

    A detector writes a pickle of its results (``out`` ends with .pkl), a segmenter one label map
    an image into the folder ``out``.
    """
    evaluator = cfg.test_evaluator
    evaluators = list(evaluator) if isinstance(evaluator, (list, tuple)) else [evaluator]
    if is_segmenter(cfg):
        _keep_label_maps(cfg, evaluators, out)
        return
    if not out.endswith(('.pkl', '.pickle')):
        raise InputError(f'--out {out}: a detector writes one pickle; give a name ending in .pkl')
    cfg.test_evaluator = [*evaluators, dict(type='mmdet.DumpDetResults', out_file_path=out)]


def is_segmenter(cfg: Config) -> bool:
    """Whether a config is of a semantic segmenter: its scope is mmseg, or its data sets are."""
    if cfg.get('default_scope') in ('mmseg', 'mmdet'):
        return cfg.default_scope == 'mmseg'
    return any('seg_map_path' in node for key in LOADERS for node in nested(cfg.get(key)))


def set_label_values(cfg: Config, pairs: dict[int, int]) -> None:
    """Say which label each value in the label maps is, in all data sets of a segmenter.

    Args:
        cfg (mmengine.Config): the config.
        pairs (dict[int, int]): the label of each value, such as ``{0: 0, 255: 1}``.

    Raises:
        InputError: no data set of the config loads label maps.
    """
    steps = [step for key in (*LOADERS, 'tta_pipeline') for step in nested(cfg.get(key))
             if type_name(step) == 'LoadAnnotations'] if is_segmenter(cfg) else []
    if not steps:
        raise InputError('--label-values: no data set of the config loads label maps with '
                         'LoadAnnotations')
    for step in steps:
        step['type'] = 'convnext_dense.LoadAnnotations'
        step['label_values'] = dict(pairs)


def _keep_label_maps(cfg, evaluators, out):
    """Let the first metric of a segmenter that can write predictions do so."""
    for evaluator in evaluators:
        name = type_name(evaluator)
        if name not in ('IoUMetric', 'CityscapesMetric'):
            continue
        evaluator['output_dir'] = out
        if name == 'CityscapesMetric':
            evaluator['keep_results'] = True
        elif full_type_name(evaluator).startswith('convnext_dense.'):
            dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
            folder = (dataset.get('data_prefix') or {}).get('img_path')
            if folder is not None:
                evaluator['image_root'] = str(Path(dataset.get('data_root') or '') / folder)
        return
    raise InputError(f'--out {out}: none of the metrics '
                     f'{", ".join(str(type_name(one)) for one in evaluators)} writes label maps; '
                     "add dict(type='convnext_dense.IoUMetric') to test_evaluator")
