"""The full check of a config: all its data sets together, and what is written about them."""
from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convnext_dense.checks.audit import SplitReport, audit_split, errors, leakage
from convnext_dense.checks.coco_checks import check_class_order, check_coco_evaluators
from convnext_dense.checks.findings import ERROR, Findings
from convnext_dense.checks.model_fit import check_model
from convnext_dense.checks.preflight import check_split
from convnext_dense.checks.settings import broken
from convnext_dense.checks.sheet import choose, draw_sheet, own_palette
from convnext_dense.checks.top_level import top_level_problems
from convnext_dense.classes import LOADERS
from convnext_dense.config_nodes import full_type_name
from convnext_dense.datasets.splits import Split, default_scope, splits
from convnext_dense.errors import InputError, convert_errors

if TYPE_CHECKING:
    from mmengine.config import Config

CLASSES = 30  # rows of the table of classes on the screen; all are in the JSON


def audit(cfg: Config, workers: int = 1,
          progress: bool = True) -> tuple[list[SplitReport], Findings, list[str]]:
    """Check every data set of a config, and the config against them.

    Args:
        cfg (mmengine.Config): the config.
        workers (int): processes.
        progress (bool): show progress bars on stderr.

    Returns:
        tuple: (reports, findings, notes): a SplitReport for each data set, the Findings about
        the config, and lines of text.
    """
    findings, notes = Findings(), []
    for text in top_level_problems(cfg):
        findings.add('config', text)
    if findings.counts:
        return [], findings, ['the data were not looked at: correct these errors first']
    found: list[Split] = []
    for loader in LOADERS:
        try:
            found += splits(cfg, (loader, ))
        except InputError as error:
            findings.add('config', str(error))
    chosen: list[Split] = []
    for split in found:
        twin = next((other for other in chosen if _files(other) == _files(split)), None)
        if twin and not (twin.name.startswith('train') or split.name.startswith('train')):
            notes.append(f'{split.name} has the same data as {twin.name}: checked once')
            try:  # its pipeline and labels may be others
                check_split(split)
            except InputError as error:
                findings.add('config', str(error))
        else:
            chosen.append(split)
    for check in ([lambda: check_model(cfg, found), lambda: check_class_order(cfg, found),
                   lambda: build_model(cfg)]
                  + [lambda key=key: check_coco_evaluators(key, cfg.get(key), found)
                     for key in ('val_evaluator', 'test_evaluator')]):
        try:
            check()
        except InputError as error:
            findings.add('config', str(error))
    try:
        for kind, text in broken(cfg, found):
            findings.add(kind, text)
    except InputError as error:
        findings.add('config', str(error))
    reports = [audit_split(split, workers, progress) for split in chosen]
    leakage(reports)
    return reports, findings, notes


def build_model(cfg: Config) -> None:
    """Raise InputError for a model that cannot be built; nothing is initialised or loaded."""
    from mmengine.registry import MODELS
    from torch import device
    with default_scope(cfg), convert_errors('model', 'look at its settings in the config'), \
            device('meta'):
        MODELS.build(cfg.get('model'))


def _files(split):
    dataset = split.dataset
    return dataset.ann_file, sorted(dataset.data_prefix.items()), split.classes


def summary(reports: list[SplitReport], config_findings: Findings,
            notes: list[str]) -> tuple[list[str], bool]:
    """Lines of text about everything, and whether training can start."""
    lines = list(notes)
    for report in reports:
        lines += ['', *_split_lines(report)]
    if config_findings.counts:
        lines += ['', 'config', *config_findings.lines()]
    total = errors(reports) + config_findings.count(ERROR)
    warnings = sum(report.findings.count('warning') for report in reports)
    lines += ['', f'{total} errors, {warnings} warnings']
    return lines, total == 0


def _split_lines(report):
    statistics = report.statistics
    line = f'{report.split.name}: {statistics["images"]} images'
    if 'smallest' in statistics:
        line += ', ' + ' to '.join('x'.join(map(str, statistics[key]))
                                   for key in ('smallest', 'largest'))
    if 'instances' in statistics:
        line += (f'; {statistics["instances"]} instances (' + ', '.join(
            f'{statistics[size]} {size}' for size in ('small', 'medium', 'large'))
            + f'), {statistics["crowds"]} crowds, {statistics["images_without_instances"]} '
            'images without any')
    if statistics.get('ignored_share') is not None:
        line += f'; {statistics["ignored_share"]:.1%} of the pixels ignored'
    yield line
    yield from _class_lines(report.classes)
    yield from report.findings.lines() if report.findings.counts else ['  nothing found']


def _class_lines(classes):
    if not classes:
        return
    unit = 'pixels' if 'pixels' in next(iter(classes.values())) else 'instances'
    total = sum(count[unit] for count in classes.values()) or 1
    rows = sorted(classes.items(), key=lambda item: -item[1][unit])
    shown = rows if len(rows) <= CLASSES else rows[:CLASSES // 2] + rows[-CLASSES // 2:]
    width = max(len(name) for name, _ in shown)
    yield f'  {"class":<{width}} {unit:>12}  share  images'
    for number, (name, count) in enumerate(shown):
        if len(rows) > CLASSES and number == CLASSES // 2:
            yield f'  ... {len(rows) - CLASSES} more'
        yield (f'  {name:<{width}} {count[unit]:>12} {count[unit] / total:>6.1%} '
               f'{count["images"]:>9}')


def write_report(folder: str | Path, reports: list[SplitReport], config_findings: Findings,
                 notes: list[str], samples: int = 12, seed: int = 0) -> list[Path]:
    """Write ``report.json`` and the sheet of samples into a folder.

    Returns:
        list[Path]: the files.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / 'report.json'
        path.write_text(json.dumps(as_dict(reports, config_findings, notes), indent=2,
                                   ensure_ascii=False))
    except OSError as error:
        raise InputError(f'the report cannot be written to {folder} ({error.strerror}); choose '
                         'another folder with --out') from error
    files = [path]
    groups = [_samples(report, samples, seed) for report in reports]
    groups = [group for group in groups if group[2]]
    if groups:
        files.append(folder / 'samples.jpg')
        draw_sheet(groups, files[-1])
    return files


def _samples(report, count, seed):
    """What :func:`draw_sheet` needs of a data set: only images without a fatal finding."""
    bad = {'image-missing', 'image-unreadable', 'map-missing', 'map-unreadable',
           'box-malformed', 'mask-malformed', 'rle-invalid', 'polygon-invalid'}
    split = report.split
    tasks = report.tasks
    if bad & set(report.findings.counts):
        from convnext_dense.checks.image_checks import check_image
        tasks = [task for task in choose(tasks, 3 * count, seed)
                 if not bad & {finding.kind for finding in check_image(task).findings}]
    title = f'{split.name}: {count} of {len(report.tasks)} images' \
        if count < len(report.tasks) else f'{split.name}: {len(report.tasks)} images'
    return title, split.classes, choose(tasks, count, seed), own_palette(split)


def as_dict(reports: list[SplitReport], config_findings: Findings,
            notes: list[str]) -> dict[str, Any]:
    """The whole report, for JSON."""
    return dict(
        can_train=errors(reports) + config_findings.count(ERROR) == 0,
        notes=notes, config=config_findings.as_dict(),
        data_sets={report.split.name: dict(
            type=full_type_name(report.split.cfg), root=report.split.cfg.get('data_root'),
            annotations=report.split.dataset.ann_file, **report.statistics,
            classes=report.classes, findings=report.findings.as_dict()) for report in reports})
