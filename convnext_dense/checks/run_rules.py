"""Rules about the parts of a run: what belongs together, and the figures that hooks wait for."""
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.util import find_spec

from convnext_dense.checkpoints.fetching import check_source
from convnext_dense.checks.arguments import class_of, parts
from convnext_dense.checks.rule import Settings, as_list
from convnext_dense.config import PRETRAINED
from convnext_dense.config_nodes import nested, type_name
from convnext_dense.errors import InputError
from convnext_dense.evaluation.figure_names import figure_names

GROUPS = dict(train=('train_dataloader', 'train_cfg', 'optim_wrapper'),
              val=('val_dataloader', 'val_cfg', 'val_evaluator'),
              test=('test_dataloader', 'test_cfg', 'test_evaluator'))
#: packages of which one is needed, by mmengine's backends of visualizers
BACKENDS = dict(TensorboardVisBackend=('tensorboard', 'tensorboardX'), WandbVisBackend=('wandb', ),
                MLflowVisBackend=('mlflow', ), ClearMLVisBackend=('clearml', ),
                NeptuneVisBackend=('neptune', ), DVCLiveVisBackend=('dvclive', ),
                AimVisBackend=('aim', ))


def run_parts(settings: Settings) -> Iterator[str]:
    """Parts of training, validation or testing without the others that they need."""
    for keys in GROUPS.values():
        there = [key for key in keys if settings.cfg.get(key) is not None]
        missing = [key for key in keys if key not in there]
        if there and missing and 'runner_type' not in settings.cfg:
            yield (f'the config has {" and ".join(there)}, but no {" and no ".join(missing)}; '
                   'give all three or none')


def figures(settings: Settings) -> Iterator[str]:
    """A figure that a hook or schedule waits for, but no metric gives."""
    given = _given(settings.cfg, 'val_evaluator') if settings.training else []
    if not given or None in given:  # a metric of someone's own may give anything
        return
    names = [name for metric in given for name in metric or ()]
    for key, figure in _awaited(settings):
        if not any(fnmatchcase(str(figure), name) for name in names):
            listed = f'it gives {", ".join(names)}' if names else \
                'it only writes files (format_only)'
            yield f'{key}={figure!r}, but val_evaluator gives no such figure; {listed}'


def repeated_figures(settings: Settings) -> Iterator[str]:
    """A figure of one name from two metrics, which mmengine refuses after the evaluation."""
    for key in ('val_evaluator', 'test_evaluator') if settings.training else ('test_evaluator', ):
        given = [name for metric in _given(settings.cfg, key) for name in metric or ()]
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            yield (f'{key}: two metrics give {", ".join(twice)}; join them to one, or give one of '
                   'them a prefix of its own')


def _given(cfg, key):
    """The figures of each metric of an evaluator, None where they are not known."""
    return [figure_names(part) if _is_of_a_library(part, cfg) else None
            for part in as_list(cfg.get(key)) if isinstance(part, dict)]


def _is_of_a_library(part, cfg):
    found = class_of(part, 'metric', cfg)
    return found is not None and found.__module__.split('.')[0] in (
        'convnext_dense', 'mmdet', 'mmseg')


def _awaited(settings):
    """(key, figure) of what hooks and schedules look for in the figures of a validation."""
    for kind, key, node in parts(settings.cfg, settings.training):
        if kind == 'hook':
            for name in ('save_best', 'monitor'):
                yield from ((f'{key}.{name}', figure) for figure in as_list(node.get(name))
                            if figure != 'auto')
        elif kind == 'schedule' and (type_name(node) or '').startswith('ReduceOnPlateau'):
            yield f'{key}.monitor', node.get('monitor', 'loss')


def weights(settings: Settings) -> Iterator[str]:
    """Files of weights that are not there, and names that nobody published."""
    init_from = settings.cfg.get('init_from')
    sources = {'load_from': settings.cfg.get('load_from')}
    if settings.training and not settings.cfg.get('resume'):  # a resumed run has its weights
        sources['init_from'] = init_from.get('source') if isinstance(init_from, dict) else init_from
        for node in nested(settings.model):
            if type_name(node) in PRETRAINED:
                sources['init_cfg.checkpoint'] = node.get('checkpoint')
    for key, source in sources.items():
        if isinstance(source, str) and source:
            try:
                check_source(source)
            except InputError as error:
                yield f'{key}={source!r}: {error}'


def frozen_noise(settings: Settings) -> Iterator[str]:
    """A backbone that does not train and starts from nothing."""
    cfg, backbone = settings.cfg, settings.model.get('backbone')
    if not settings.training or not isinstance(backbone, dict) or any(
            cfg.get(key) for key in ('load_from', 'resume', 'init_from')):
        return
    frozen = 'freeze' if 'backbone' in as_list(cfg.get('freeze')) else \
        'model.backbone.frozen_stages' if (backbone.get('frozen_stages') or 0) > 0 else \
        'lora' if cfg.get('lora') else None
    if frozen and not backbone.get('init_cfg') and not backbone.get('pretrained'):
        yield (f'{frozen} keeps the backbone, or its first stages, as they start, but no weights '
               'are loaded: set model.backbone.init_cfg, load_from or init_from')


def packages(settings: Settings) -> Iterator[str]:
    """A backend of the visualizer whose package is not installed."""
    visualizer = settings.cfg.get('visualizer')
    backends = visualizer.get('vis_backends') if isinstance(visualizer, dict) else None
    if backends is not None and not isinstance(backends, (list, tuple)):
        yield f'visualizer.vis_backends={backends!r}; expected a list of dicts'
    for number, part in enumerate(as_list(backends)):
        needed = BACKENDS.get(type_name(part) or '', ())
        if needed and not any(map(find_spec, needed)):
            yield (f'visualizer.vis_backends.{number}: {type_name(part)} needs the package '
                   f'{needed[0]}, which is not installed; pip install {needed[0]}, or leave it out')
