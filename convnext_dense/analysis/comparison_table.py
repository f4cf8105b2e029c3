"""The table of a comparison: published figures, measured figures and their differences."""
import numpy as np

from convnext_dense.analysis.bootstrap import mean_figure, seed_spread
from convnext_dense.analysis.comparison import KINDS


def figure_columns(models, kinds):
    """Columns of the table.

    Args:
        models (list[Model]): its rows.
        kinds (list[str]): keys of ``KINDS``.

    Returns:
        dict[str, list[str]]: cells by heading; a column without any value is left out.
    """
    columns = {}
    for kind in kinds:
        title, key = KINDS[kind]
        measured = [mean_figure(model.results(kind)) if model.results(kind) else None
                    for model in models]
        published = [_published(model, key) for model in models]
        columns[f'{title}, published'] = _cells(published, '{:.1f}')
        columns[f'{title}, measured'] = [
            _with_spread(value, model.results(kind)) for value, model in zip(measured, models)]
        columns[f'{title}, difference'] = _cells(_subtract(measured, published), '{:+.1f}')
    for title, key, value in (
            ('parameters M', 'params_M', lambda total: total.params / 1e6),
            ('multiply-adds G', 'flops_G', lambda total: total.macs / 1e9)):
        measured = [value(model.complexity.total) for model in models]
        published = [_published(model, key) for model in models]
        columns[f'{title}, published'] = _cells(published, '{:g}')
        columns[f'{title}, counted'] = _cells(measured, '{:.2f}')
        columns[f'{title}, difference'] = _cells(
            [100 * (ours / theirs - 1) if theirs else None
             for ours, theirs in zip(measured, published)], '{:+.2f} %')
    columns['A100 images/s, published'] = _cells(
        [_published(model, 'a100_fps') for model in models], '{:g}')
    for mode in ('inference', 'training'):
        speeds = [model.speed.get(mode) for model in models]
        columns[f'{mode} images/s'] = [
            '' if not speed else '{median:.2f} ({p10:.2f}-{p90:.2f})'.format(
                **speed['images_per_s']) for speed in speeds]
        columns[f'{mode} p95 ms'] = _cells(
            [speed and speed['latency_ms']['p95'] for speed in speeds], '{:.0f}')
        columns[f'{mode} memory MiB'] = _cells(
            [speed and speed['peak_memory_MiB'] for speed in speeds], '{:.0f}')
    return {name: cells for name, cells in columns.items() if any(cells)}


def difference_rows(differences, labels, kinds):
    """Heading and rows of the paired differences."""
    head = ['metric', 'models', 'difference', '95 % interval', 'finding']
    rows = [[KINDS[kind][0], f'{labels[item.second]} against {labels[item.first]}',
             f'{item.difference:+.2f}', f'{item.low:+.2f} to {item.high:+.2f}',
             sentence(item, labels)]
            for kind in kinds for item in differences.get(kind, [])]
    return head, rows


def sentence(item, labels):
    """What a paired difference means, in words."""
    if item.verdict == 'no difference':
        return 'no difference'
    return f'{labels[item.second]} is {item.verdict}'


def breakdown_rows(models, labels, kind, by):
    """Heading and rows of the figures ``by_class`` or ``by_size``, a row each, a column a model."""
    measured = [model for model in models if model.results(kind)]
    head = ['class' if by == 'by_class' else 'size', *(labels[model.name] for model in measured)]
    tables = [[getattr(result, by)() for result in model.results(kind)] for model in measured]
    rows = []
    for name in (tables[0][0] if tables else ()):
        values = [[table[name] for table in seeds] for seeds in tables]
        rows.append([name, *('' if None in seeds else f'{np.mean(seeds):.1f}'
                             for seeds in values)])
    return head, rows


def markdown(head, rows):
    """A Markdown table."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def _published(model, key):
    return (model.published or {}).get(key)


def _cells(values, form):
    return ['' if value is None else form.format(value) for value in values]


def _subtract(values, others):
    return [None if value is None or other is None else value - other
            for value, other in zip(values, others)]


def _with_spread(mean, results):
    if mean is None:
        return ''
    if len(results) == 1:
        return f'{mean:.1f}'
    return f'{mean:.1f} ± {seed_spread(results):.1f} ({len(results)} seeds)'
