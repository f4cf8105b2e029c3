"""Rules about the parts of a run: what belongs together, and the figures that hooks wait for."""
from collections.abc import Iterator
from importlib.util import find_spec

from convnext_dense.checkpoints.fetching import check_source
from convnext_dense.checks.arguments import parts
from convnext_dense.checks.rule import Settings, as_list
from convnext_dense.config import PRETRAINED
from convnext_dense.config_nodes import nested, type_name
from convnext_dense.errors import InputError

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
    """A figure that a hook waits for, but no metric gives; metrics of others are left alone."""
    metrics = [part for part in as_list(settings.cfg.get('val_evaluator'))
               if isinstance(part, dict)]
    for kind, key, node in parts(settings.cfg, settings.training):
        for name in ('save_best', 'monitor') if kind == 'hook' and metrics else ():
            for figure in as_list(node.get(name)):
                if figure != 'auto' and all(_gives(part, figure) is False for part in metrics):
                    yield (f'{key}.{name}={figure!r}, but val_evaluator gives no such figure; '
                           "name one of its own, or 'auto'")


def _gives(part, figure):
    """Whether a metric gives a figure; None where that is not known."""
    if type_name(part) == 'IoUMetric':
        wanted = as_list(part.get('iou_metrics', ['mIoU']))
        return figure in wanted if figure in ('mIoU', 'mDice', 'mFscore') else \
            False if '/' in str(figure) else None
    if type_name(part) == 'CocoMetric':
        prefix, _, name = str(figure).rpartition('/')
        of = name.split('_')[0]
        if prefix != (part.get('prefix') or 'coco'):
            return False
        return of in as_list(part.get('metric', 'bbox')) if of in ('bbox', 'segm') else None
    return None


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


def packages(settings: Settings) -> Iterator[str]:
    """A backend of the visualizer whose package is not installed."""
    visualizer = settings.cfg.get('visualizer')
    backends = visualizer.get('vis_backends') if isinstance(visualizer, dict) else None
    for number, part in enumerate(as_list(backends)):
        needed = BACKENDS.get(type_name(part) or '', ())
        if needed and not any(map(find_spec, needed)):
            yield (f'visualizer.vis_backends.{number}: {type_name(part)} needs the package '
                   f'{needed[0]}, which is not installed; pip install {needed[0]}, or leave it out')
