"""Moving the data sets of a config to another folder: ``--data-root``."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.logging import print_log

from convnext_dense.classes import data_sets
from convnext_dense.errors import InputError
from convnext_dense.layouts import fit_layout

if TYPE_CHECKING:
    from mmengine.config import Config

SPLITS = ('train', 'val', 'test')


def set_data_root(cfg: Config, root: str | Path | Sequence[str | Path]) -> None:
    """Move data sets, and the paths of their evaluators, to another folder.

    Args:
        cfg (mmengine.Config): changed in place.
        root: one folder for all loaders, or for some ``train=FOLDER``, ``val=FOLDER`` and
            ``test=FOLDER``. Where a folder has another of the known layouts than the config
            says, that one is taken (:mod:`convnext_dense.layouts`).

    Raises:
        InputError: there is nothing to move, or one folder is given for data sets that lie in
            several.
    """
    given = [root] if isinstance(root, (str, Path)) else list(root)
    before = {split: _roots(cfg, split) for split in SPLITS}
    new = _folders(given, before)
    for split, folder in new.items():
        if len(before[split]) > 1:
            raise InputError(
                f'--data-root {folder}: {split}_dataloader reads from {_several(before[split])}, '
                'which one folder cannot replace; set their data_root in the config')
        moved = {}  # paths below the folder, where its layout is another one
        for dataset in data_sets((cfg.get(f'{split}_dataloader') or {}).get('dataset')):
            if dataset.get('data_root'):
                dataset['data_root'] = folder
                old_file = dataset.get('ann_file')
                layout = fit_layout(dataset, folder)
                if layout:
                    print_log(f'{split}_dataloader: {folder} has {layout}', 'current')
                    moved[old_file] = dataset.get('ann_file')
        evaluators = cfg.get(f'{split}_evaluator') or ()
        for evaluator in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
            for name, value in evaluator.items():
                for old in before[split]:
                    if isinstance(value, str) and value.startswith(old):
                        path = value[len(old):].lstrip('/')
                        evaluator[name] = folder + moved.get(path, path)
    if 'data_root' in cfg and len(set(new.values())) == 1 and set(new) >= {
            split for split in SPLITS if before[split]}:
        cfg.data_root = next(iter(new.values()))


def _roots(cfg, split):
    roots = (dataset.get('data_root') for dataset in data_sets(
        (cfg.get(f'{split}_dataloader') or {}).get('dataset')))
    return sorted({root.rstrip('/') + '/' for root in roots if root and isinstance(root, str)})


def _folders(given, before):
    """{split: new folder, with a slash at its end}"""
    named = dict(str(text).split('=', 1) for text in given
                 if str(text).partition('=')[0] in SPLITS and '=' in str(text))
    plain = [str(text) for text in given if str(text).partition('=')[0] not in SPLITS
             or '=' not in str(text)]
    if len(plain) > 1 or plain and named:
        raise InputError(f'--data-root {" ".join(map(str, given))}: give one folder, or '
                         'train=FOLDER, val=FOLDER and test=FOLDER')
    if plain:
        roots = sorted({root for roots in before.values() for root in roots})
        if not roots:
            raise InputError(f'--data-root {plain[0]}: no data set of the config has a data_root '
                             'to move')
        if len(roots) > 1:
            raise InputError(f'--data-root {plain[0]}: the data sets lie in {_several(roots)}, '
                             'which one folder cannot replace; name the loaders: --data-root '
                             'train=FOLDER --data-root val=FOLDER --data-root test=FOLDER')
        named = {split: plain[0] for split in SPLITS if before[split]}
    for split, folder in named.items():
        if not before[split]:
            raise InputError(f'--data-root {split}={folder}: {split}_dataloader has no data_root '
                             'to move')
    return {split: folder.rstrip('/') + '/' for split, folder in named.items()}


def _several(roots):
    return ' and '.join(roots)
