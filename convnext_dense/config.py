"""Reading a config and fitting it to the command line and the machine.

Each function changes the given config in place and does one thing, so that a script can do what
the commands do.
"""
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from convnext_dense.classes import LOADERS, apply_classes
from convnext_dense.config_device import enable_amp as enable_amp
from convnext_dense.config_device import enable_amp_tests as enable_amp_tests
from convnext_dense.config_device import set_device as set_device
from convnext_dense.config_files import find_config
from convnext_dense.config_nodes import full_type_name, nested, type_name
from convnext_dense.data_root import set_data_root as set_data_root
from convnext_dense.errors import InputError, convert_errors
from convnext_dense.registry import SCOPE  # its import lets mmengine find convnext_dense::...

#: ``init_cfg`` that reads a file, by name and by class
PRETRAINED = ('Pretrained', 'PretrainedInit')
#: what mmengine's runner and this toolkit read, whether a config has it or not
TOP_LEVEL_KEYS = (
    'model', 'work_dir', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg',
    'val_cfg', 'test_cfg', 'auto_scale_lr', 'optim_wrapper', 'param_scheduler', 'val_evaluator',
    'test_evaluator', 'default_hooks', 'custom_hooks', 'data_preprocessor', 'load_from', 'resume',
    'launcher', 'env_cfg', 'log_processor', 'log_level', 'visualizer', 'default_scope',
    'randomness', 'experiment_name', 'runner_type', 'custom_imports', 'model_wrapper_cfg',
    'find_unused_parameters', 'sync_bn', 'tta_model', 'tta_pipeline', 'bad_images', 'not_finite',
    'acceleration', 'compile', 'memory_format', 'classes', 'init_from', 'freeze', 'lora',
    'progress', 'parallel')


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


def set_work_dir(cfg: Config, work_dir: str | Path | None) -> None:
    """Work directory: the option, or the config's own, or ``work_dirs/<name of the config>``."""
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(
        Path('work_dirs') / Path(cfg.filename).stem)


def set_init_from(cfg: Config, source: str | None = None,
                  classes: Sequence[str] | None = None, prefix: str | None = None) -> None:
    """Start from a file of other classes, which takes the place of the backbone's weights.

    Args:
        cfg (Config): its ``init_from`` is kept where ``source`` is None.
        source (str, optional): a file, URL or name of published weights.
        classes (Sequence[str], optional): the file's class names, or one text file of them.
        prefix (str, optional): of the tensors that are taken, such as ``teacher``.

    Raises:
        InputError: ``load_from`` is set as well, or classes or a prefix are without a source.
    """
    if prefix and not source:
        raise InputError('--init-prefix is a prefix in --init-from SOURCE; give that, too')
    if classes and not source:
        raise InputError('--init-classes names the classes of --init-from SOURCE; give that, too')
    if source:
        if classes and len(classes) == 1 and Path(classes[0]).is_file():
            classes = Path(classes[0]).read_text(encoding='utf-8').split('\n')
        classes = [name.strip() for name in classes or [] if name.strip()] or None
        cfg.init_from = dict(source=str(source), classes=classes, prefix=prefix)
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
    if show:
        hook = cfg.default_hooks.get('visualization')
        if not hook:
            raise InputError('--show needs default_hooks.visualization in the config')
        hook.update(draw=True, show=True, wait_time=wait_time)
    if show_dir:
        if type_name(cfg.get('visualizer')) not in ('DetLocalVisualizer', 'SegLocalVisualizer'):
            kind = 'Seg' if is_segmenter(cfg) else 'Det'
            cfg.visualizer = dict(type=f'{kind}LocalVisualizer',
                                  vis_backends=[dict(type='LocalVisBackend')])
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []),
                            dict(type='convnext_dense.DrawingHook', folder=str(show_dir))]


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
