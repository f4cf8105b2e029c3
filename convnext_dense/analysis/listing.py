"""What the package offers, as rows: architectures, published weights, data sets, configs."""
from collections.abc import Sequence
from functools import cache
from typing import Any

Row = dict[str, Any]
#: what `convnext-dense list` shows of each kind, in this order; every row has these keys
COLUMNS = {
    'models': ('name', 'depths', 'channels', 'params_M', 'params_v2_M'),
    'weights': ('name', 'params_M', 'figures', 'licence', 'pixels', 'config', 'fetched'),
    'datasets': ('name', 'images', 'classes', 'annotated_like', 'download_GB', 'from'),
    'configs': ('name', 'folder', 'recipe', 'params_M', 'macs_G', 'figures', 'weights'),
}
#: the published figures: key in a row of published.yaml, what a table calls it
FIGURES = dict(box_ap='box AP', mask_ap='mask AP', miou='mIoU', miou_ms='mIoU multi-scale',
               pq='PQ')


def rows(kind: str, words: Sequence[str] = ()) -> list[Row]:
    """The rows of a kind that hold all words.

    Args:
        kind: a key of ``COLUMNS``.
        words: parts of any column's text, in any case.

    Returns:
        list[dict]: each with the keys of ``COLUMNS[kind]``; parameters in millions, multiply-adds
        in 10^9, figures in percent, None where a figure is not known.
    """
    found = dict(models=_models, weights=_weights, datasets=_datasets, configs=_configs)[kind]()
    return [row for row in found
            if all(word.lower() in text(row).lower() for word in words)]


def text(row: Row) -> str:
    """All of a row in words."""
    return ' '.join(cell(value) for value in row.values())


def cell(value: Any) -> str:
    """A value in a table."""
    if value is None:
        return '-'
    if isinstance(value, dict):
        return ', '.join(f'{FIGURES[key]} {number}' for key, number in value.items()) or '-'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, (list, tuple)):
        return ', '.join(map(str, value))
    return str(value)


def table(kind: str, found: Sequence[Row]) -> str:
    """Rows as aligned text."""
    columns = COLUMNS[kind]
    lines = [[column.replace('_', ' ') for column in columns],
             *([cell(row[column]) for column in columns] for row in found)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return '\n'.join('  '.join(value.ljust(width) for value, width in zip(line, widths)).rstrip()
                     for line in lines)


def notes(found: Sequence[Row]) -> list[str]:
    """What to know of listed weights: pixel statistics beside ImageNet's, files got by hand."""
    lines = []
    for name, mean, std in dict.fromkeys(
            (row['pixels'], row['mean'], row['std']) for row in found
            if row.get('pixels', 'ImageNet') != 'ImageNet'):
        lines.append(f'pixels {name}: data_preprocessor has mean={list(mean)}, std={list(std)}')
    for page in dict.fromkeys(row['by_hand'] for row in found if row.get('by_hand')):
        names = [row['name'] for row in found if row.get('by_hand') == page]
        lines.append(f'{", ".join(names)}: accept the licence at {page} and fetch the file; then '
                     'name its path, or its folder in CONVNEXT_DENSE_WEIGHTS')
    return lines


def _models():
    import torch

    from convnext_dense.models import ConvNeXt
    from convnext_dense.models.architectures import ARCHITECTURES

    def millions(**options):
        with torch.device('meta'):  # shapes alone
            model = ConvNeXt(arch, **options)
        return round(sum(p.numel() for p in model.parameters()) / 1e6, 1)

    for arch, sizes in ARCHITECTURES.items():
        yield dict(name=arch, depths=sizes['depths'], channels=sizes['channels'],
                   params_M=millions(),
                   params_v2_M=millions(use_grn=True, layer_scale_init_value=0.))


def _weights():
    from convnext_dense.checkpoints.fetching import find
    from convnext_dense.checkpoints.zoo import CLIP_MEAN, IMAGENET_MEAN, entries
    pixels = {IMAGENET_MEAN: 'ImageNet', CLIP_MEAN: 'CLIP'}
    published = {row['config']: row for row in _published_configs()}
    for entry in entries().values():
        yield dict(name=entry.name, params_M=published.get(entry.config, {}).get('params_M'),
                   figures=entry.reaches, licence=entry.licence,
                   pixels=pixels[entry.mean], mean=entry.mean, std=entry.std,
                   by_hand=entry.by_hand or None,
                   config=entry.config and entry.config.rpartition('/')[2].removesuffix('.py'),
                   fetched=find(entry) is not None, url=entry.url)


def _datasets():
    from convnext_dense.command_names import typed
    from convnext_dense.datasets.benchmarks import BENCHMARKS
    for name, benchmark in BENCHMARKS.items():
        sizes = [archive.size for archive in benchmark.archives]
        yield dict(
            name=name, images=sum(folder.number for folder in benchmark.folders),
            classes=dict(coco=80, ade20k=150)[name],
            annotated_like=dict(coco='COCO', ade20k='ADE20K')[name],
            download_GB=None if None in sizes else round(sum(sizes) / 1e9, 1),
            **{'from': f'{typed("prepare-data")} {name}'})
    yield dict(name='shapes', images=500, classes=5, annotated_like='COCO and ADE20K',
               download_GB=0, **{'from': f'{typed("demo-data")} (drawn here)'})
    for name, images, classes, like in (('pennfudan', 170, 1, 'COCO'),
                                        ('camvid', 701, 11, 'ADE20K')):
        yield dict(name=name, images=images, classes=classes, annotated_like=like,
                   download_GB=None, **{'from': 'docs/data.md'})


def _configs():
    from convnext_dense.checkpoints.zoo import entries
    weights = {entry.config: entry.name for entry in entries().values() if entry.config}
    for row in _published_configs():
        yield dict(row, weights=weights.get(row['config']))


@cache  # reading the files takes a second
def _published_configs():
    from mmengine.config import Config

    from convnext_dense.config_files import config_names
    from convnext_dense.published import published_rows
    published, found = published_rows(), []
    for name, path in config_names().items():
        cfg = Config.fromfile(path)
        row = published.get(cfg.get('published'), {})
        recipe = 'this project' if cfg.get('recipe') else 'published' if row else None
        found.append(dict(name=name, folder=path.parent.name, recipe=recipe,
                          params_M=row.get('params_M'),
                          macs_G=row.get('flops_G'),
                          figures={key: row[key] for key in FIGURES if key in row},
                          config=f'{path.parent.name}/{path.name}'))
    return found
