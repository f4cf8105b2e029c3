"""Settings that cannot work together: a table of small rules, run before any work.

A rule is a pure function of the config and its data sets. It yields a message for each thing that
is wrong, naming the keys. Where a rule asks what a part does, it asks the part's class.
"""
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import imagesize
from mmengine.config import Config
from mmengine.logging import print_log

from convnext_dense.checks.arguments import check_arguments, class_of, parts
from convnext_dense.checks.findings import Finding
from convnext_dense.checks.sampling import evenly
from convnext_dense.config import SYNCHRONISED_NORMS, nested, type_name
from convnext_dense.datasets.splits import Split
from convnext_dense.errors import InputError, convert_errors

LOOKED_AT = 500  # images whose headers are read
#: heads that normalise maps pooled to one pixel
POOLING_HEADS = ('UPerHead', 'PSPHead', 'ASPPHead', 'DepthwiseSeparableASPPHead')
BATCH_NORMS = ('BN', 'BN2d', 'BatchNorm2d', *SYNCHRONISED_NORMS)
DETECTION_META = ('img_id', 'ori_shape', 'img_shape', 'scale_factor')


class Settings(NamedTuple):
    """What the rules look at.

    Attributes:
        cfg (mmengine.Config): the config.
        model (dict): its model, without a wrapper for test-time augmentation.
        splits (Sequence[Split]): its data sets.
        training (bool): what stops training counts, besides what stops testing.
    """
    cfg: Any
    model: dict
    splits: list[Split]
    training: bool

    def heads(self) -> Iterator[tuple[str, dict]]:
        """mmseg's heads with their keys, those of other kinds left out."""
        from mmseg.models.decode_heads.decode_head import BaseDecodeHead
        for key in ('decode_head', 'auxiliary_head'):
            heads: Any = self.model.get(key)
            several = isinstance(heads, (list, tuple))
            for number, head in enumerate(heads if several else [heads]):
                kind = class_of(head, 'model', self.cfg) if isinstance(head, dict) else None
                if isinstance(kind, type) and issubclass(kind, BaseDecodeHead):
                    yield f'model.{key}.{number}' if several else f'model.{key}', head

    def of(self, kind: str, training: bool | None = None) -> list[Split]:
        """The data sets of a kind, only those for training, or only the others."""
        return [split for split in self.splits if split.kind == kind and training in (
            None, split.name.startswith('train'))]


class Rule(NamedTuple):
    """One rule.

    Attributes:
        name (str): what it finds.
        looks_at (str): the keys that it compares.
        check (Callable): yields messages.
        stops (bool): such a run cannot work; else it is only doubtful.
    """
    name: str
    looks_at: str
    check: Callable[[Settings], Iterable[str]]
    stops: bool = True


def check_settings(cfg: Config, splits: Sequence[Split], training: bool) -> None:
    """Raise InputError for the first rule that is broken; print what is only doubtful.

    Args:
        cfg (mmengine.Config): the config.
        splits (Sequence[Split]): its data sets.
        training (bool): it will train, not only test.
    """
    for rule, text in broken_rules(cfg, splits, training):
        if rule.stops:
            raise InputError(text)
        print_log(text, 'current', 30)


def broken(cfg: Config, splits: Sequence[Split]) -> list[Finding]:
    """All that :func:`check_settings` would say, as findings."""
    return [Finding('config' if rule.stops else 'config-doubtful', text)
            for rule, text in broken_rules(cfg, splits, training=True)]


def broken_rules(cfg: Config, splits: Sequence[Split],
                 training: bool) -> Iterator[tuple[Rule, str]]:
    """Every rule that is broken, with its message."""
    model = cfg.get('model') or {}
    settings = Settings(cfg, model.get('module', model), list(splits), training)
    for rule in RULES:
        with convert_errors(f'the settings of {rule.looks_at}', 'look at them'):
            found = list(rule.check(settings))
        for text in found:
            yield rule, text


def losses(head: dict) -> list[dict]:
    """The losses of one of mmseg's heads."""
    given = head.get('loss_decode') or dict(type='CrossEntropyLoss')
    return list(given) if isinstance(given, (list, tuple)) else [given]


def one_class(settings: Settings) -> Iterator[str]:
    for key, head in settings.heads():
        softmax = [loss for loss in losses(head) if type_name(loss) == 'CrossEntropyLoss'
                   and not loss.get('use_sigmoid')]
        if head.get('num_classes') == 1 and head.get('out_channels') in (None, 1) and softmax:
            yield (f'{key}.num_classes=1 with softmax: its loss is always 0; a class and its '
                   'background are two classes: name both in metainfo and set num_classes=2, or '
                   'num_classes=2, out_channels=1 and loss_decode.use_sigmoid=True for one map '
                   'of scores')


def out_channels(settings: Settings) -> Iterator[str]:
    for key, head in settings.heads():
        out, classes = head.get('out_channels'), head.get('num_classes')
        if out is None or classes == 1:
            continue
        if out != classes and not (out == 1 and classes == 2):
            yield (f'{key}.out_channels={out} does not fit num_classes={classes}; leave it out, or '
                   'for two classes set it to 1 with loss_decode.use_sigmoid=True')
        elif out == 1 and any(type_name(loss) == 'CrossEntropyLoss' and not loss.get('use_sigmoid')
                              for loss in losses(head)):
            yield (f'{key}.out_channels=1 needs loss_decode.use_sigmoid=True: softmax over one '
                   'channel is always 1')


def ignore_index(settings: Settings) -> Iterator[str]:
    given = {}
    for split in settings.of('labels'):
        given[f'{split.name}_dataloader.dataset.ignore_index'] = split.dataset.ignore_index
        for step in nested(split.cfg.get('pipeline')):
            if type_name(step) in ('LoadAnnotations', 'RandomCrop') and 'ignore_index' in step:
                given[f'{split.name} {type_name(step)}.ignore_index'] = step['ignore_index']
            elif type_name(step) == 'RandomCrop' and step.get('cat_max_ratio', 1) < 1:
                given[f'{split.name} RandomCrop.ignore_index'] = 255
            elif type_name(step) == 'LoadAnnotations' and split.dataset.reduce_zero_label:
                given[f'{split.name} LoadAnnotations.ignore_index'] = 255
    if not given:
        return
    for key, head in settings.heads():
        given[f'{key}.ignore_index'] = head.get('ignore_index', 255)
    preprocessor = settings.model.get('data_preprocessor') or {}
    if settings.training and preprocessor.get('size') or preprocessor.get('size_divisor'):
        given['model.data_preprocessor.seg_pad_val'] = preprocessor.get('seg_pad_val', 255)
    for key in ('val_evaluator', 'test_evaluator'):
        for part in nested(settings.cfg.get(key)):
            if type_name(part) == 'IoUMetric':
                given[f'{key}.ignore_index'] = part.get('ignore_index', 255)
    if len(set(given.values())) > 1:
        common = next(iter(given.values()))
        other = next(key for key, value in given.items() if value != common)
        yield (f'the ignored label differs: {next(iter(given))}={common}, but {other}='
               f'{given[other]}; set all of these to one value: {", ".join(given)}')


def ignored_class(settings: Settings) -> Iterator[str]:
    for split in settings.of('labels'):
        index = split.dataset.ignore_index
        if split.classes and isinstance(index, int) and 0 <= index < len(split.classes):
            yield (f'{split.where}: ignore_index={index} is the label of the class '
                   f'{split.classes[index]!r} ({len(split.classes)} classes); choose a number that '
                   'is none, such as 65535, in the data set, its LoadAnnotations (type='
                   "'convnext_dense.LoadAnnotations'), the heads, data_preprocessor.seg_pad_val "
                   'and the metric')


def class_weight(settings: Settings) -> Iterator[str]:
    wanted = []
    for key, head in settings.heads():
        wanted += [(f'{key}.loss_decode', loss, [head.get('out_channels') or
                                                 head.get('num_classes')]) for loss in losses(head)]
    heads = (settings.model.get('roi_head') or {}).get('bbox_head') or []
    for number, head in enumerate(heads if isinstance(heads, (list, tuple)) else [heads]):
        loss = head.get('loss_cls') or {}
        classes = head.get('num_classes', 80)
        wanted.append((f'model.roi_head.bbox_head.{number}.loss_cls', loss,
                       [classes if loss.get('use_sigmoid') else classes + 1]))
    for key, loss, sizes in wanted:
        weights = loss.get('class_weight')
        if not isinstance(weights, (list, tuple)):
            continue
        if len(weights) not in sizes:
            yield (f'{key}.class_weight has {len(weights)} numbers, expected {sizes[0]}: one a '
                   'class' + (', and one for the background' if 'loss_cls' in key else ''))
        elif loss.get('avg_non_ignore') and type_name(loss) == 'CrossEntropyLoss' and \
                'loss_decode' in key and not loss.get('use_sigmoid'):
            yield (f'{key} has class_weight and avg_non_ignore=True, which mmseg\'s '
                   'CrossEntropyLoss cannot do together; leave avg_non_ignore out: weighted '
                   'losses are averaged over the pixels that count already')


def batch_norm(settings: Settings) -> Iterator[str]:
    loader = settings.cfg.get('train_dataloader') or {}
    if settings.cfg.get('launcher', 'none') != 'none' or not settings.training:
        return
    size, images = loader.get('batch_size', 1), _images(settings)
    alone = size == 1
    if not alone and images and size and images % size == 1 and not loader.get('drop_last') and \
            type_name(loader.get('sampler') or {}) == 'DefaultSampler':
        alone = True
    for key, head in settings.heads():
        norm = type_name(head.get('norm_cfg') or {}) or ''
        scales = head.get('pool_scales', (1, 2, 3, 6))
        if alone and norm in BATCH_NORMS and type_name(head) in POOLING_HEADS and \
                (1 in scales or 'ASPP' in (type_name(head) or '')):
            what = 'train_dataloader.batch_size=1' if size == 1 else \
                f'the last batch has 1 of {images} images with train_dataloader.batch_size={size}'
            yield (f'{what}, but {key} ({type_name(head)}) normalises one pixel an image by batch '
                   'norm, which needs two; set batch_size=2 or more'
                   + ('' if size == 1 else ' or drop_last=True')
                   + ", or norm_cfg=dict(type='GN', num_groups=...)")


def schedules(settings: Settings) -> Iterator[str]:
    """A schedule that ends before the loop with an error."""
    for key, part, end, steps, unit in _schedules(settings):
        if type_name(part) == 'OneCycleLR' and end < steps:
            yield (f'{key}.total_steps={end} is less than the {steps} {unit} of train_cfg: '
                   f'OneCycleLR fails at its end; set total_steps={steps}')


def schedule_ends(settings: Settings) -> Iterator[str]:
    """A schedule that ends early or late."""
    ends = [(key, part, end, steps, unit) for key, part, end, steps, unit in _schedules(settings)
            if type_name(part) in ('PolyLR', 'CosineAnnealingLR', 'OneCycleLR')]
    for key, part, end, steps, unit in ends[-1:]:
        if end != steps and not (type_name(part) == 'OneCycleLR' and end < steps):
            yield (f'{key} ({type_name(part)}) ends after {end} {unit}, training after {steps}: '
                   + ('the rest is trained with the last learning rate' if end < steps else
                      'the learning rate has not come down then'))
    cfg = settings.cfg
    if 'max_iters' in (cfg.get('train_cfg') or {}):
        for number, part in enumerate(_list(cfg.get('param_scheduler'))):
            if isinstance(part, dict) and part.get('by_epoch', True) and \
                    not part.get('convert_to_iter_based') and type_name(part):
                yield (f'param_scheduler.{number} ({type_name(part)}) has by_epoch=True, but '
                       'train_cfg counts iterations: it changes nothing before the end; set '
                       'by_epoch=False')


def _schedules(settings):
    """(key, scheduler, end, steps of the loop, unit) where both count the same unit."""
    loop = settings.cfg.get('train_cfg') or {}
    if not settings.training:
        return
    for number, part in enumerate(_list(settings.cfg.get('param_scheduler'))):
        if not isinstance(part, dict):
            continue
        by_epoch = part.get('by_epoch', True)
        steps = loop.get('max_epochs' if by_epoch else 'max_iters')
        if steps is None and not by_epoch and loop.get('max_epochs') and _images(settings):
            loader = settings.cfg.get('train_dataloader') or {}
            size = loader.get('batch_size', 1)
            steps = loop['max_epochs'] * (_images(settings) // size if loader.get('drop_last')
                                          else -(-_images(settings) // size))
        end = part.get('total_steps', part.get('end'))
        if isinstance(end, int) and isinstance(steps, int):
            yield (f'param_scheduler.{number}', part, end, steps,
                   'epochs' if by_epoch else 'iterations')


def loops(settings: Settings) -> Iterator[str]:
    loader = settings.cfg.get('train_dataloader') or {}
    loop = settings.cfg.get('train_cfg') or {}
    if not settings.training or not loader:
        return
    epochs = type_name(loop) == 'EpochBasedTrainLoop' or \
        'type' not in loop and loop.get('by_epoch', True)
    if epochs and type_name(loader.get('sampler') or {}) == 'InfiniteSampler':
        yield ('train_dataloader.sampler is an InfiniteSampler, but train_cfg counts epochs, which '
               "would never end; use type='DefaultSampler', or max_iters")
    for key in ('max_epochs', 'max_iters'):
        if key in loop and (not isinstance(loop[key], int) or loop[key] < 1):
            yield f'train_cfg.{key}={loop[key]!r}; give a whole number of at least 1'
    size, images = loader.get('batch_size', 1), _images(settings)
    if loader.get('drop_last') and images and isinstance(size, int) and images < size and \
            'InfiniteSampler' != type_name(loader.get('sampler') or {}):
        yield (f'train_dataloader has {images} images, no whole batch of batch_size={size}, and '
               'drop_last=True: nothing would be trained; lower batch_size')


def masks(settings: Settings) -> Iterator[str]:
    roi_head = settings.model.get('roi_head') or {}
    has_masks = bool(roi_head.get('mask_head') or settings.model.get('mask_head'))
    for split in settings.of('coco', training=True):
        steps = [step for step in nested(split.cfg.get('pipeline'))
                 if type_name(step) == 'LoadAnnotations']
        if has_masks and steps and not any(step.get('with_mask') for step in steps):
            yield (f'{split.where}: the model has a mask head, but LoadAnnotations loads no masks; '
                   'set with_mask=True, or model.roi_head.mask_head=None')
        if roi_head and steps and not any(step.get('with_bbox', True) for step in steps):
            yield f'{split.where}: LoadAnnotations loads no boxes; set with_bbox=True'
    for key in ('val_evaluator', 'test_evaluator') if roi_head and not has_masks else ():
        for part in nested(settings.cfg.get(key)):
            if 'segm' in _list(part.get('metric')):
                yield (f"{key}.metric has 'segm', but the model has no mask head; set "
                       "metric='bbox'")


def channels(settings: Settings) -> Iterator[str]:
    backbone = settings.model.get('backbone') or {}
    preprocessor = settings.model.get('data_preprocessor') or {}
    given = backbone.get('in_channels', 3)
    for key in ('mean', 'std'):
        values = preprocessor.get(key)
        if isinstance(values, (list, tuple)) and len(values) not in (1, given):
            yield (f'model.data_preprocessor.{key} has {len(values)} values, but the backbone '
                   f'takes in_channels={given}; give one a channel')
    if (preprocessor.get('mean') is None) != (preprocessor.get('std') is None):
        yield 'model.data_preprocessor needs mean and std together, or neither'


def small_images(settings: Settings) -> Iterator[str]:
    model = settings.model
    kind = class_of(model, 'model', settings.cfg)
    pads = (model.get('data_preprocessor') or {}).get('test_cfg') or {}
    if type_name(model) != 'EncoderDecoder' or kind.__module__.startswith('convnext_dense') or \
            type_name(model.get('backbone') or {}) != 'ConvNeXt' or pads:
        return
    for split in settings.of('labels', training=False):
        if any('Resize' in (type_name(step) or '') for step in split.cfg.get('pipeline') or ()):
            continue
        for info in evenly(_infos(split), LOOKED_AT):
            try:
                size = imagesize.get(info['img_path'])
            except (OSError, ValueError):  # another check's business
                continue
            if 0 < min(size) < 32:
                yield (f'{split.where}: {info["img_path"]} has {size[0]}x{size[1]} pixels, less '
                       'than the stride 32 of the backbone; set model.type='
                       "'convnext_dense.EncoderDecoder', which pads, or data_preprocessor."
                       'test_cfg=dict(size_divisor=32)')
                return


def meta_keys(settings: Settings) -> Iterator[str]:
    for split in settings.of('coco', training=False):
        steps = [step for step in split.cfg.get('pipeline') or () if isinstance(step, dict)]
        kinds = [class_of(step, 'transform', settings.cfg) for step in steps]
        if not steps or any(kind is None or kind.__module__.split('.')[0] not in (
                'mmdet', 'mmcv', 'convnext_dense') for kind in kinds):
            continue
        names = [type_name(step) for step in steps]
        if 'TestTimeAug' in names or 'PackDetInputs' not in names:
            continue
        if not any('Resize' in (name or '') for name in names):
            yield (f'{split.where}: no step of its pipeline resizes, so scale_factor is not known, '
                   "by which boxes are brought to the image's size; add dict(type='Resize', "
                   'scale=..., keep_ratio=True)')
        given = steps[names.index('PackDetInputs')].get('meta_keys')
        missing = [key for key in DETECTION_META if given and key not in given]
        if missing:
            yield (f'{split.where}: PackDetInputs.meta_keys lacks {", ".join(missing)}, which the '
                   'evaluation needs')


def queries(settings: Settings) -> Iterator[str]:
    model = settings.model
    head = model.get('bbox_head') or {}
    number, most = model.get('num_queries'), (model.get('test_cfg') or {}).get('max_per_img')
    if not isinstance(number, int) or not isinstance(most, int) or not isinstance(head, dict):
        return
    classes = head.get('num_classes', 80)
    sigmoid = (head.get('loss_cls') or dict(use_sigmoid=True)).get('use_sigmoid')
    candidates = number * classes if sigmoid else number
    if most > candidates:
        yield (f'model.test_cfg.max_per_img={most} is more than the {candidates} candidates of '
               f'num_queries={number}' + (f' and {classes} classes' if sigmoid else '')
               + f'; set it to {candidates} or less')


def structure(settings: Settings) -> Iterator[str]:
    cfg = settings.cfg
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'optim_wrapper',
                'default_hooks', 'visualizer', 'env_cfg'):
        if not isinstance(cfg.get(key) or {}, dict) and not hasattr(cfg.get(key), '__iter__') \
                and isinstance(cfg.get(key), (int, float, str)):
            yield f'{key}={cfg[key]!r}; expected a dict'
    if not isinstance(cfg.get('model'), dict):
        yield f'model={cfg.get("model")!r}; expected a dict with the type of the model'


def hook_numbers(settings: Settings) -> Iterator[str]:
    """Numbers of hooks, which mmengine compares only in the middle of a run."""
    for kind, key, node in parts(settings.cfg, settings.training):
        for name in ('interval', 'max_keep_ckpts', 'save_begin') if kind == 'hook' else ():
            value = node.get(name, 1)
            if isinstance(value, bool) or not isinstance(value, int):
                yield f'{key}.{name}={value!r}; give a whole number'


def arguments(settings: Settings) -> Iterable[str]:
    return check_arguments(settings.cfg, settings.training)


RULES = (
    Rule('the structure of the config', 'its top-level keys', structure),
    Rule('one class with softmax', 'the heads\' num_classes, loss_decode', one_class),
    Rule('scores and loss', 'the heads\' out_channels, loss_decode', out_channels),
    Rule('the ignored label', 'ignore_index of data sets, heads and metrics', ignore_index),
    Rule('an ignored class', 'ignore_index and classes of the data sets', ignored_class),
    Rule('weights of classes', 'class_weight and num_classes', class_weight),
    Rule('batch norm of one pixel', 'train_dataloader.batch_size and norm_cfg', batch_norm),
    Rule('a schedule that fails', 'param_scheduler and train_cfg', schedules),
    Rule('a schedule that ends elsewhere', 'param_scheduler and train_cfg', schedule_ends, False),
    Rule('loops without end or content', 'train_cfg and train_dataloader', loops),
    Rule('masks', 'the mask head, LoadAnnotations and the metrics', masks),
    Rule('channels', 'data_preprocessor and backbone.in_channels', channels),
    Rule('images smaller than the stride', 'the validation images', small_images),
    Rule('what evaluation needs of an image', 'the test pipeline', meta_keys),
    Rule('detections of an image', 'num_queries and max_per_img', queries),
    Rule('numbers of hooks', 'default_hooks and custom_hooks', hook_numbers),
    Rule('types and arguments', 'types and their arguments', arguments),
)


def _list(value):
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def _images(settings):
    """Images of the training set where counting them is quick, else None."""
    found = settings.of('labels', training=True)
    loader = settings.cfg.get('train_dataloader') or {}
    if len(found) != 1 or (loader.get('dataset') or {}).get('type') != found[0].cfg.get('type'):
        return None
    return len(_infos(found[0]))


def _infos(split):
    """The samples of a data set, none where its folder is missing: another check says so."""
    try:
        return split.dataset.load_data_list()
    except (OSError, AssertionError):
        return []
