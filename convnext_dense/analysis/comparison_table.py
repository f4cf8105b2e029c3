"""The table of a comparison: published figures, measured figures and their differences."""
import numpy as np

from convnext_dense.analysis.bootstrap import mean_figure, seed_spread
from convnext_dense.analysis.comparison import KINDS, Model
from convnext_dense.analysis.differences import ONE_SEED, Difference, seeds_needed
from convnext_dense.errors import markdown_text


def figure_columns(models: list[Model], kinds: list[str]) -> dict[str, list[str]]:
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
        columns[f'{title}, counted'] = [
            f'{count:.2f}' if count >= 1 else f'{count:.3g}'
            for count in (value(model.complexity.total) for model in models)]
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


def difference_rows(differences: dict[str, list[Difference]], labels: dict[str, str],
                    kinds: list[str], wanted: float) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the differences.

    Args:
        differences (dict[str, list[Difference]]): by kind.
        labels (dict[str, str]): of the models, by name.
        kinds (list[str]): keys of ``KINDS``.
        wanted (float): points to each side of an interval for which seeds are estimated.
    """
    head = ['metric', 'models', 'difference', 'interval', 'verdict', f'seeds for ± {wanted:g}']
    rows = [[KINDS[kind][0], f'{labels[item.second]} against {labels[item.first]}',
             f'{item.difference:+.2f}', f'{item.low:+.2f} to {item.high:+.2f}',
             sentence(item, labels), seeds_text(item, wanted)]
            for kind in kinds for item in differences.get(kind, [])]
    return head, rows


def difference_text(differences: dict[str, list[Difference]]) -> str:
    """What the intervals of :func:`difference_rows` are, in words."""
    items = [item for pairs in differences.values() for item in pairs]
    levels = ' and '.join(dict.fromkeys(f'{100 * item.confidence:.3g} %' for item in items))
    text = f'Intervals of {levels}'
    pairs = max(map(len, differences.values()))
    if pairs > 1:
        text += f', so wide because {pairs} pairs are compared at once'
    text += '; one that holds 0 shows no difference. '
    if any(item.verdict != ONE_SEED for item in items):
        text += ('They include what other seeds and other images would change: Student\'s t with '
                 'the variance of the seeds of each model and of the images, degrees of freedom '
                 'after Welch and Satterthwaite. ')
    if any(item.verdict == ONE_SEED for item in items):
        text += ('Where a model has one seed, the interval is of the images alone, the paired '
                 'bootstrap\'s: another seed may turn the finding round. Train three or more.')
    return text.strip()


def sentence(item: Difference, labels: dict[str, str]) -> str:
    """What a difference means, in words."""
    finding = 'no difference' if item.finding == 'no difference' else \
        f'{labels[item.second]} is {item.finding}'
    if item.verdict == ONE_SEED:
        return ('one seed: no verdict about the backbones, only about these two files: '
                f'{finding}')
    return finding


def seeds_text(item: Difference, wanted: float) -> str:
    """How many seeds of each model the wanted interval takes, as far as these seeds can tell."""
    if item.verdict == ONE_SEED:
        return 'unknown from one seed'
    seeds = seeds_needed(item, wanted)
    return f'about {seeds}' if seeds else f'none: {item.images} images are too few'


def breakdown_rows(models: list[Model], labels: dict[str, str], kind: str,
                   by: str) -> tuple[list[str], list[list[str]]]:
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


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; what names hold is shown as it is."""
    lines = [[markdown_text(cell) for cell in head], ['---'] * len(head),
             *([markdown_text(cell) for cell in row] for row in rows)]
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
