"""Rules on classes, the ignored label and the losses of heads; see :mod:`..settings`."""
from collections.abc import Iterator

from convnext_dense.checks.rule import Settings
from convnext_dense.config_nodes import nested, type_name


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
