"""One clear error before any work: what train and test check before they begin.

The fast part of ``tools/data/check.py``: folders, annotation files, a sample of the images and
label maps, classes against heads, backbone against neck, and the work directory.
"""
import os
import tempfile
import time

from mmengine.logging import print_log

from convnext_dense.checks.image_checks import count_values, look_at_image
from convnext_dense.checks.loading import loader_of
from convnext_dense.checks.model_fit import check_model
from convnext_dense.datasets.coco_file import (
    check_classes,
    check_images_left,
    check_masks,
    read_outline,
    same_order,
)
from convnext_dense.datasets.labels import (
    check_one_class,
    check_values,
    check_zero_label,
    label_maps,
    label_rules,
    missing_files,
)
from convnext_dense.datasets.splits import is_local, splits
from convnext_dense.errors import InputError, convert_errors

IMAGES = 8  # images that are loaded
SAMPLE = 32  # label maps that are read
MORE = 500  # label maps that are read where the sample is suspicious ...
SECONDS = 2.  # ... and for how long
FILES = 20_000  # images whose existence is checked in every data set


def check_config(cfg, training):
    """Raise InputError for a config that cannot work, before anything is built or loaded.

    Args:
        cfg (mmengine.Config): the config, with the command line's options merged in.
        training (bool): check the train and val data (else the test data).
    """
    check_work_dir(cfg.get('work_dir'))
    loaders = ('train_dataloader', 'val_dataloader') if training else ('test_dataloader', )
    found = splits(cfg, loaders)
    check_model(cfg, found)
    for split in found:
        check_split(split)
    for evaluator in (['val_evaluator'] if training else ['test_evaluator']):
        check_evaluator(evaluator, cfg.get(evaluator))


def check_work_dir(path):
    """Make the work directory, and raise InputError where nothing can be written in it."""
    if not path:
        return
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(f'the work directory {path} cannot be written ({error.strerror}); '
                         'choose another one with --work-dir') from error


def check_split(split):
    """Raise InputError for a data set that cannot be loaded or learned from."""
    if not is_local(split.cfg):
        return
    with convert_errors(split.where, 'look at its annotations and at its settings in the config'):
        if split.kind == 'coco':
            _check_coco(split)
        elif split.kind == 'labels':
            _check_labels(split)


def check_evaluator(where, evaluator):
    """Raise InputError for an evaluator whose annotation file does not exist."""
    for part in evaluator if isinstance(evaluator, (list, tuple)) else [evaluator or {}]:
        path = part.get('ann_file')
        if path and '://' not in path and not os.path.isfile(path):
            raise InputError(f'{where}: the annotation file {path} does not exist; correct '
                             'ann_file, or give the data set\'s folder with --data-root')


def _check_coco(split):
    dataset, where, path = split.dataset, split.where, split.dataset.ann_file
    content, whole = read_outline(where, path)
    check_classes(where, path, split.classes, content['categories'])
    if whole:
        check_images_left(where, path, split.classes, content, dataset.filter_cfg,
                            dataset.test_mode)
        if dataset.test_mode:
            check_masks(where, path, content)
    if not same_order(split.classes, content['categories']):
        print_log(f'{where}: {path} has its categories in another order than the config; mmdet '
                  'numbers them in the order of the file, so tables and images will show wrong '
                  'names; list the classes in the order of the file', 'current', 30)
    folder = dataset.data_prefix.get('img') or ''
    _check_exist(where, folder, [os.path.join(folder, image['file_name'])
                                 for image in content['images']])
    _check_images(where, loader_of(split), [
        dict(image, img_path=os.path.join(folder, image['file_name']))
        for image in content['images']])


def _check_labels(split):
    dataset, where = split.dataset, split.where
    check_loading(split)
    infos = label_maps(split)
    mapped = [info for info in infos if info.get('seg_map_path')]
    maps = [info['seg_map_path'] for info in mapped]
    _check_exist(where, dataset.data_prefix.get('seg_map_path'), maps, 'label maps')
    if dataset.ann_file:
        _check_exist(where, dataset.data_prefix.get('img_path'),
                     [info['img_path'] for info in infos])
    loader, rules = loader_of(split), label_rules(dataset)
    _check_images(where, loader, infos)
    if rules is None:
        return
    values, stored = {}, {}

    def check():
        check_one_class(where, values, rules)
        if dataset.reduce_zero_label:
            check_zero_label(where, stored, rules.stored, dataset.ignore_index,
                             whole=len(values) == len(maps))

    _read(mapped, SAMPLE, values, stored, where, loader, rules)
    try:
        check()
    except InputError:  # a class may be rare: look again before saying so
        _read(mapped, MORE, values, stored, where, loader, rules, SECONDS)
        check()


def check_loading(split):
    """Raise InputError where LoadAnnotations and the data set disagree on label 0."""
    for step in split.cfg.get('pipeline') or ():
        reduce = step.get('reduce_zero_label')
        if step.get('type', '').endswith('LoadAnnotations') and reduce is not None \
                and reduce != split.dataset.reduce_zero_label:
            raise InputError(
                f'{split.where}: LoadAnnotations has reduce_zero_label={reduce}, but the data set '
                f'has reduce_zero_label={split.dataset.reduce_zero_label}; set both to the same')


def evenly(items, count):
    """At most ``count`` of the items, evenly spaced, the first one always."""
    step = max(len(items) / count, 1)
    return [items[int(number * step)] for number in range(min(count, len(items)))]


def _read(infos, count, values, stored, where, loader, rules, seconds=None):
    """Add the values of some label maps, loaded and as stored, each checked."""
    end = seconds and time.monotonic() + seconds
    for info in evenly(infos, count):
        path = info['seg_map_path']
        if end and time.monotonic() > end:
            return
        if path in values:
            continue
        labels, in_file, problem = loader.labels(info)
        if problem:
            raise InputError(f'{where}: label map {path} {problem.text}')
        values[path] = list(count_values(labels))
        stored[path] = [] if in_file is None else list(count_values(in_file))
        check_values(where, path, values[path], rules)


def _check_images(where, loader, infos):
    """Raise InputError where none of a few images can be used: no matter of single files."""
    problems = []
    for info in evenly(infos, IMAGES):
        image, problem = loader.image(info)
        problem = problem or look_at_image(image, (info.get('width'), info.get('height')))
        if problem is None:
            return
        problems.append(f'{info["img_path"]} {problem.text}')
    if problems:
        raise InputError(f'{where}: none of the {len(problems)} images that were looked at can be '
                         f'used: {problems[0]}; look at the loading steps of the pipeline')


def _check_exist(where, folder, paths, what='images'):
    looked = evenly(paths, FILES)
    missing = missing_files(looked)
    if not missing:
        return
    share = f'{len(missing)} of {len(paths)}' if looked == paths else 'some'
    raise InputError(f'{where}: {share} {what} are missing in {folder}, the first is '
                     f'{missing[0]}; correct data_prefix, or give the data set\'s folder with '
                     '--data-root')
