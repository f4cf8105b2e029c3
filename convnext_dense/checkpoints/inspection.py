"""What a checkpoint is, from its names and shapes alone; no model is built."""
from collections import Counter
from pathlib import Path
from typing import Any

from convnext_dense.checkpoints.architecture import architecture_of
from convnext_dense.checkpoints.class_layers import number_of_classes
from convnext_dense.checkpoints.fetching import locate
from convnext_dense.checkpoints.fine_tuning import classes_of
from convnext_dense.checkpoints.formats import BACKBONE, recognise, recognise_all, to_official
from convnext_dense.checkpoints.lora import describe_adapters
from convnext_dense.checkpoints.origins import program_of, project_of
from convnext_dense.checkpoints.reading import read_checkpoint
from convnext_dense.checkpoints.state_dicts import state_dict_of
from convnext_dense.errors import convert_errors, printable


def inspect_checkpoint(source: str | Path, prefix: str | None = None) -> dict[str, Any]:
    """Describe a checkpoint.

    Args:
        source (str | Path): a file, or a name or URL that :func:`locate` knows.
        prefix (str, optional): look at the tensors under it alone, see :func:`state_dict_of`.

    Returns:
        dict: ``source``, ``format``, ``project`` (whose model it is), ``program`` (what saved
        it), ``prefix`` (of the backbone), ``others`` (prefixes of other backbones), ``kind``
        (backbone, classifier, detector or segmenter), ``arch``, ``depths``, ``channels``,
        ``parameters`` and ``backbone_parameters`` (counts), ``parts`` (parameters of each first
        name), ``dtypes``, ``classes`` (names, or their number), ``adapters`` (LoRA, which is
        merged when the file is read), ``training`` (what a resumed run would find) and ``meta``
        (the strings and numbers that were saved). What is not known is None or empty.
    """
    path = locate(source)
    checkpoint = read_checkpoint(path)
    state = state_dict_of(checkpoint, str(source), prefix)
    with convert_errors(str(source), 'it is damaged, or no model known here'):
        return _describe(checkpoint, state, source, path)


def _describe(checkpoint, state, source, path):
    found = recognise(state)
    backbone, rest = to_official(state, found) if found else ({}, state)
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    architecture = architecture_of(backbone)
    return dict(
        source=str(source),
        format=found.format.name if found else None,
        project=project_of(state, found),
        program=program_of(checkpoint, path),
        prefix=found.prefix if found else None,
        others=[other.prefix for other in recognise_all(state)[1:]],
        kind=_kind(backbone, rest),
        arch=architecture.get('arch'),
        depths=architecture.get('depths'),
        channels=architecture.get('channels'),
        parameters=_count(state),
        backbone_parameters=_count({key: value for key, value in backbone.items()
                                    if not key.startswith(('head.', 'fc.'))}),
        parts=dict(_parts(state)),
        dtypes=dict(Counter(str(tensor.dtype).removeprefix('torch.') for tensor in
                            state.values())),
        classes=_classes(checkpoint, backbone, rest),
        adapters=describe_adapters(checkpoint),
        training=_training(checkpoint, meta),
        meta={key: value for key, value in meta.items()
              if isinstance(key, str) and isinstance(value, (str, int, float)) and
              len(str(value)) < 200})


def _count(state):
    """Parameters, without the buffers that can be told by name."""
    buffers = ('running_mean', 'running_var', 'num_batches_tracked', 'relative_position_index',
               'attn_mask')
    return sum(tensor.numel() for key, tensor in state.items() if not key.endswith(buffers))


def _parts(state):
    parts: Counter[str] = Counter()
    for key, tensor in state.items():
        parts[key.split('.')[0]] += _count({key: tensor})
    return parts


def _kind(backbone, rest):
    firsts = {key.split('.')[0] for key in rest}
    if 'decode_head' in firsts:
        return 'segmenter'
    if firsts & {'roi_head', 'bbox_head', 'rpn_head', 'panoptic_head'}:
        return 'detector'
    return 'classifier' if {'head.weight', 'fc.weight'} & set(backbone) else 'backbone'


def _classes(checkpoint, backbone, rest):
    """The names of the classes, or how many there are, or None."""
    named = classes_of(checkpoint, {})
    if named:
        return named
    number = number_of_classes(rest)
    if number:
        return number
    return next((backbone[key].shape[0] for key in ('head.weight', 'fc.weight')
                 if key in backbone), None)


def _training(checkpoint, meta):
    """What a resumed run would find: epoch, iteration, and whose states were saved."""
    state = {key: meta[key] for key in ('epoch', 'iter') if isinstance(meta.get(key), int)}
    if isinstance(checkpoint.get('epoch'), int):  # the official releases
        state.setdefault('epoch', checkpoint['epoch'])
    kept = [key for key in ('optimizer', 'param_schedulers', 'message_hub', 'ema_state_dict',
                            'scaler', 'lr_scheduler', 'model_ema') if key in checkpoint]
    return dict(state, **({'states': kept} if kept else {}))


def summary(described: dict[str, Any]) -> str:
    """Lines of text for :func:`inspect_checkpoint`'s dict."""
    source = [described['project'] or 'unknown']
    source += [f'saved by {described["program"]}'] if described['program'] else []
    lines = [('source', ', '.join(source)),
             ('format', described['format'] or 'unknown'), ('kind', described['kind']),
             ('arch', described['arch'] or 'unknown')]
    if described['depths']:
        lines += [('depths', ', '.join(map(str, described['depths']))),
                  ('channels', ', '.join(map(str, described['channels'])))]
    parts = ', '.join(f'{part} {count / 1e6:.2f} M' for part, count in described['parts'].items())
    lines.append(('parameters', f'{described["parameters"] / 1e6:.2f} M' + (
        f' ({parts})' if 1 < len(described['parts']) < 8 else '')))
    if described['prefix'] == BACKBONE:
        lines.append(('backbone', f'{described["backbone_parameters"] / 1e6:.2f} M'))
    if described['others']:
        lines.append(('others', f'{", ".join(described["others"])} (the above is of '
                                f'{described["prefix"] or "the names without a prefix"})'))
    lines.append(('tensors', ', '.join(f'{count} {dtype}' for dtype, count in
                                       described['dtypes'].items())))
    classes = described['classes']
    if isinstance(classes, list):
        more = f', ... and {len(classes) - 5} more' if len(classes) > 5 else ''
        lines.append(('classes', f'{len(classes)}: {", ".join(classes[:5])}{more}'))
    elif classes:
        lines.append(('classes', str(classes)))
    if described['adapters']:
        lines.append(('adapters', f'{described["adapters"]}, merged'))
    training = dict(described['training'])
    if training:
        states = training.pop('states', [])
        lines.append(('training', ', '.join([f'{key} {value}' for key, value in training.items()]
                                            + states)))
    lines += [(f'meta.{key}', str(value).replace('\n', ' ')) for key, value in
              described['meta'].items() if key not in ('epoch', 'iter', 'format', 'arch')]
    width = max(len(name) for name, _ in lines) + 2
    return '\n'.join(f'{printable(name):<{width}}{printable(value)}' for name, value in lines)
