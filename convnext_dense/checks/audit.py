"""The full check of the data sets that a config names."""
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

from convnext_dense.checks.balance import (
    instance_balance,
    instance_sizes,
    label_balance,
    size_range,
)
from convnext_dense.checks.coco_checks import check_content, check_there, is_own, loads_masks
from convnext_dense.checks.findings import ERROR, Findings
from convnext_dense.checks.image_checks import ImageResult, ImageTask, check_image
from convnext_dense.checks.loading import loader_of
from convnext_dense.checks.preflight import check_loading
from convnext_dense.checks.similar import similar
from convnext_dense.datasets.coco_dataset import complete_sizes
from convnext_dense.datasets.coco_file import read_coco
from convnext_dense.datasets.coco_problems import KINDS
from convnext_dense.datasets.coco_requirements import listed, same_order
from convnext_dense.datasets.labels import (
    check_one_class,
    check_zero_label,
    label_maps,
    label_rules,
)
from convnext_dense.datasets.other_formats import import_hint
from convnext_dense.datasets.splits import Split
from convnext_dense.errors import InputError

CHUNK = 16  # images that a process takes at once
IN_PROCESS = 64  # fewer images than this are not worth starting processes


class SplitReport(NamedTuple):
    """Result of one data set.

    Attributes:
        split (Split): the data set.
        findings (Findings): problems.
        tasks (list[ImageTask]): its images.
        contents (dict[str, str]): path of the first image with each pixel hash.
        thumbnails (dict[str, bytes]): small copy of each image, by path.
        classes (dict[str, dict]): for each class ``instances`` and ``images``, or ``pixels``
            and ``images``.
        statistics (dict): number of images, range of sizes, ...
    """
    split: Any
    findings: Findings
    tasks: list
    contents: dict
    thumbnails: dict
    classes: dict
    statistics: dict


def audit_split(split: Split, workers: int = 1, progress: bool = True) -> SplitReport:
    """Check every image and annotation of a data set.

    Args:
        split (Split): the data set.
        workers (int): processes.
        progress (bool): show a progress bar on stderr.

    Returns:
        SplitReport
    """
    start = time.perf_counter()
    findings = Findings()
    try:
        collect = dict(coco=coco_tasks, labels=label_tasks).get(split.kind, other_tasks)
        tasks = collect(split, findings)
    except InputError as error:
        findings.add('config', str(error))
        return SplitReport(split, findings, [], {}, {}, {}, dict(images=0))
    contents: dict[str, str] = {}
    thumbnails: dict[str, bytes] = {}
    values: dict[str, list[int]] = {}
    stored: dict[str, list[int]] = {}
    sizes: Counter[tuple[int, int]] = Counter()
    pixels: Counter[int] = Counter()
    images_with: Counter[int] = Counter()
    for result in run(tasks, workers, progress, split.name):
        for kind, text in result.findings:
            findings.add(kind, text)
        if result.size:
            sizes[result.size] += 1
        pixels.update(result.pixels)
        images_with.update(result.pixels.keys())
        values[result.path] = list(result.pixels)
        stored[result.path] = result.stored
        if result.content in contents:
            findings.add('duplicate-content', f'{result.path} and {contents[result.content]}')
        elif result.content and result.thumbnail:
            contents[result.content] = result.path
            thumbnails[result.path] = result.thumbnail
    ignored = None
    if split.kind == 'labels':
        classes, ignored = label_balance(split, pixels, images_with)
        check_label_config(split, values, stored, findings)
    else:
        classes = instance_balance(split, tasks)
    if split.name.startswith('train'):
        for name, count in classes.items():
            if not count['images']:
                findings.add('class-without-instances', name)
    statistics = dict(images=len(tasks), **size_range(sizes),
                      seconds=round(time.perf_counter() - start, 2))
    if split.kind == 'labels':
        statistics['ignored_share'] = ignored
    elif split.kind == 'coco':
        statistics.update(instance_sizes(tasks))
    return SplitReport(split, findings, tasks, contents, thumbnails, classes, statistics)


def run(tasks: list[ImageTask], workers: int, progress: bool, name: str) -> Iterator[ImageResult]:
    """Results of :func:`check_image`, in order."""
    if progress:
        from tqdm import tqdm
        bar = tqdm(total=len(tasks), desc=f'check {name}', unit='image', mininterval=.5)
    serial = workers <= 1 or len(tasks) < IN_PROCESS
    # not forked: torch and OpenMMLab have started threads in this process
    pool = None if serial else ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context('spawn'))
    try:
        for result in map(check_image, tasks) if pool is None else \
                pool.map(check_image, tasks, chunksize=CHUNK):
            if progress:
                bar.update()
            yield result
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
        if progress:
            bar.close()


def leakage(reports: list[SplitReport]) -> None:
    """Add what two data sets share, and what looks alike, to the later one's findings.

    An image under the same path in both, as where a config tests on its val set, is no leakage
    unless one of them is the training set.
    """
    for number, later in enumerate(reports):
        for earlier in reports[:number]:
            training = later.split.name.startswith('train') != \
                earlier.split.name.startswith('train')
            shared = later.contents.keys() & earlier.contents.keys()
            for content in sorted(shared, key=lambda one: later.contents[one]):
                paths = later.contents[content], earlier.contents[content]
                if training or os.path.realpath(paths[0]) != os.path.realpath(paths[1]):
                    later.findings.add('leakage', _pair(later, paths[0], earlier, paths[1]))
            if training:
                _look_alikes(later, earlier, {later.contents[content] for content in shared})


def _look_alikes(later, earlier, known):
    paths = [path for path in later.thumbnails if path not in known]
    others = list(earlier.thumbnails)
    for number, other, difference in similar([later.thumbnails[path] for path in paths],
                                             list(earlier.thumbnails.values())):
        later.findings.add('look-alike', _pair(later, paths[number], earlier, others[other])
                           + f': mean difference of their thumbnails {difference:.1f} of 255')


def _pair(later, path, earlier, other):
    return f'{path} ({later.split.name}) and {other} ({earlier.split.name})'


def coco_tasks(split: Split, findings: Findings) -> list[ImageTask]:
    """The images of a COCO annotation file; problems of the file as a whole are added."""
    check_there(split)
    content = read_coco(split.dataset.ann_file, split.where)
    findings.extend(content.problems)
    for name, count in Counter(content.file_names).items():
        if count > 1 and name:
            findings.add('duplicate-file-name', f'{name}, {count} times')
    if is_own(split.dataset) and set(split.classes) <= set(content.category_names) and \
            not same_order(split.classes, content):
        findings.add('category-order', f'{content.name} has {listed(content.category_names, 8)}, '
                     f'the config {listed(split.classes, 8)}')
    folder = split.dataset.data_prefix.get('img') or ''
    try:
        complete_sizes(content, folder)
        check_content(split, content, masks=False)  # each image's check looks at its masks
    except InputError as error:
        # a problem of the file is a finding already
        if not any(KINDS[kind].severity == ERROR for kind in content.problems.counts):
            findings.add('config', str(error))
    masks, loader = loads_masks(split), loader_of(split)
    tasks = []
    for name, size, rows in zip(content.file_names, content.sizes.tolist(), content.by_image(),
                                strict=True):
        annotations = content.annotations(rows)
        for annotation, place in zip(annotations, content.categories[rows], strict=True):
            annotation['category'] = content.category_names[place]
        if name:
            tasks.append(ImageTask(os.path.join(folder, name), tuple(size) if all(size) else None,
                                   tuple(annotations), masks, loader=loader))
    return tasks


def label_tasks(split: Split, findings: Findings) -> list[ImageTask]:
    """Images with label maps; label maps without an image are added to the findings."""
    dataset = split.dataset
    infos = label_maps(split)
    rules, loader = label_rules(dataset), loader_of(split)
    folder = dataset.data_prefix.get('seg_map_path')
    if folder and not dataset.ann_file:
        known = {os.path.abspath(info['seg_map_path']) for info in infos}
        for parent, _, names in os.walk(folder):
            for name in sorted(names):
                path = os.path.join(parent, name)
                if name.endswith(dataset.seg_map_suffix) and os.path.abspath(path) not in known:
                    findings.add('map-without-image', path)
    return [ImageTask(info['img_path'], label_map=info.get('seg_map_path'), rules=rules,
                      loader=loader, info=info) for info in infos]


def check_label_config(split: Split, values: dict[str, list[int]], stored: dict[str, list[int]],
                       findings: Findings) -> None:
    """Add what is wrong with the label settings, from the values of all label maps.

    Args:
        values, stored (dict[str, list[int]]): loaded values, and those in the file, by path.
    """
    dataset, rules = split.dataset, label_rules(split.dataset)
    try:
        check_loading(split)
        if rules:
            check_one_class(split.where, values, rules)
            if dataset.reduce_zero_label:
                check_zero_label(split.where, stored, rules.stored, dataset.ignore_index,
                                 whole=True)
    except InputError as error:
        findings.add('config', str(error))


def other_tasks(split: Split, findings: Findings) -> list[ImageTask]:
    """The images of a data set whose annotations this toolkit does not know."""
    try:
        infos = split.dataset.load_data_list()
    except Exception as error:  # a class of the user's own: anything can go wrong in it
        raise InputError(f'{split.where}: {type(split.dataset).__name__} cannot load its list of '
                         f'images: {error}') from error
    kind = type(split.dataset).__name__
    advice = (import_hint(split.cfg.get('data_root')) if kind in ('XMLDataset', 'VOCDataset') else
              '')
    findings.add('annotations-not-read', f'{split.where}: {kind}{advice}')
    loader = loader_of(split)
    return [ImageTask(info['img_path'], loader=loader, info=info) for info in infos
            if info.get('img_path')]


def errors(reports: list[SplitReport]) -> int:
    """Number of errors in all data sets."""
    return sum(report.findings.count(ERROR) for report in reports)
