"""One clear error before any work: what train and test check before they begin.

The fast part of ``tools/data/check.py``: folders, annotation files, a sample of the images and
label maps, classes against heads, backbone against neck, and the work directory.
"""
from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convnext_dense.checks.coco_checks import check_class_order, check_coco, check_coco_evaluators
from convnext_dense.checks.image_checks import count_values, look_at_image
from convnext_dense.checks.loading import loader_of
from convnext_dense.checks.model_fit import check_model
from convnext_dense.checks.panoptic_checks import check_panoptic
from convnext_dense.checks.sampling import evenly
from convnext_dense.checks.settings import check_settings
from convnext_dense.checks.top_level import check_top_level
from convnext_dense.config_nodes import type_name
from convnext_dense.datasets.labels import (
    check_one_class,
    check_values,
    check_zero_label,
    label_maps,
    label_rules,
    missing_files,
)
from convnext_dense.datasets.splits import Split, is_local, splits
from convnext_dense.errors import InputError, convert_errors

if TYPE_CHECKING:
    from mmengine.config import Config

IMAGES = 8  # images that are loaded
SAMPLE = 32  # label maps that are read
MORE = 500  # label maps that are read where the sample is suspicious ...
SECONDS = 2.  # ... and for how long
FILES = 20_000  # images whose existence is checked in every data set


def check_config(cfg: Config, training: bool) -> None:
    """Raise InputError for a config that cannot work, before anything is built or loaded.

    Args:
        cfg (mmengine.Config): the config, with the command line's options merged in.
        training (bool): check the train and val data (else the test data).
    """
    check_top_level(cfg)
    check_work_dir(cfg.get('work_dir'))
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    if training and cfg.get('work_dir') and isinstance(checkpoint, dict):
        out_dir = checkpoint.get('out_dir')
        _check_folder(out_dir, f'default_hooks.checkpoint.out_dir {out_dir} cannot be written',
                      'give another folder')
    loaders = ('train_dataloader', 'val_dataloader') if training else ('test_dataloader', )
    found = splits(cfg, loaders)
    check_model(cfg, found)
    check_settings(cfg, found, training)
    for split in found:
        check_split(split)
    check_class_order(cfg, found)
    evaluator = 'val_evaluator' if training else 'test_evaluator'
    check_coco_evaluators(evaluator, cfg.get(evaluator), found)
    if training:
        from mmengine.logging import print_log
        for line in pixel_warnings(cfg):
            print_log(line, logger='current', level=logging.WARNING)


def pixel_warnings(cfg: Config) -> list[str]:
    """One line for each source of weights whose pixel statistics are not the model's."""
    model = cfg.get('model') or {}
    pixels = model.get('data_preprocessor') or {}
    init_cfg = (model.get('backbone') or {}).get('init_cfg')
    init_from = cfg.get('init_from')
    sources = [init_cfg.get('checkpoint') if isinstance(init_cfg, dict) else None,
               init_from.get('source') if isinstance(init_from, dict) else init_from,
               cfg.get('load_from')]
    from convnext_dense.checkpoints.pixels import pixel_warning
    return [line for line in (pixel_warning(source, pixels.get('mean'), pixels.get('std'))
                              for source in sources if source) if line]


def check_work_dir(path: str | Path | None) -> None:
    """Make the work directory, and raise InputError where nothing can be written in it."""
    _check_folder(path, f'the work directory {path} cannot be written',
                  'choose another one with --work-dir')


def _check_folder(path, what, advice):
    if not path or '://' in str(path):  # of another storage nothing is known here
        return
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(f'{what} ({error.strerror}); {advice}') from error


def check_split(split: Split) -> None:
    """Raise InputError for a data set that cannot be loaded or learned from."""
    if not is_local(split.cfg):
        return
    with convert_errors(split.where, 'look at its annotations and at its settings in the config'):
        if split.kind == 'coco':
            _check_coco(split)
        elif split.kind == 'panoptic':
            images = check_panoptic(split)
            check_exist(split.where, split.dataset.data_prefix.get('img') or '',
                        [image['img_path'] for image in images])
            _check_images(split.where, loader_of(split), images)
        elif split.kind == 'labels':
            _check_labels(split)


def _check_coco(split):
    content = check_coco(split)
    folder = split.dataset.data_prefix.get('img') or ''
    images = [dict(img_path=os.path.join(folder, name), width=width, height=height)
              for name, (width, height) in zip(content.file_names, content.sizes.tolist(),
                                               strict=True) if name]
    check_exist(split.where, folder, [str(image['img_path']) for image in images])
    _check_images(split.where, loader_of(split), images)


def _check_labels(split):
    dataset, where = split.dataset, split.where
    check_loading(split)
    infos = label_maps(split)
    mapped = [info for info in infos if info.get('seg_map_path')]
    maps = [info['seg_map_path'] for info in mapped]
    check_exist(where, dataset.data_prefix.get('seg_map_path'), maps, 'label maps')
    if dataset.ann_file:
        check_exist(where, dataset.data_prefix.get('img_path'),
                     [info['img_path'] for info in infos])
    loader, rules = loader_of(split), label_rules(dataset)
    _check_images(where, loader, infos)
    if rules is None:
        return
    values: dict[str, list[int]] = {}
    stored: dict[str, list[int]] = {}

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


def check_loading(split: Split) -> None:
    """Raise InputError where LoadAnnotations and the data set disagree on label 0."""
    for step in split.cfg.get('pipeline') or ():
        reduce = step.get('reduce_zero_label')
        if type_name(step) == 'LoadAnnotations' and reduce is not None \
                and reduce != split.dataset.reduce_zero_label:
            raise InputError(
                f'{split.where}: LoadAnnotations has reduce_zero_label={reduce}, but the data set '
                f'has reduce_zero_label={split.dataset.reduce_zero_label}; set both to the same')


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


def check_exist(where: str, folder: str, paths: Sequence[str], what: str = 'images') -> None:
    """Raise InputError for files that are missing; of very many, some are looked for."""
    looked = evenly(paths, FILES)
    missing = missing_files(looked)
    if not missing:
        return
    share = f'{len(missing)} of {len(paths)}' if looked == paths else 'some'
    raise InputError(f'{where}: {share} {what} are missing in {folder}, the first is '
                     f'{missing[0]}; correct data_prefix, or give the data set\'s folder with '
                     '--data-root')
