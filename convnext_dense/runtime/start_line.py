"""One log line from which a run can be repeated."""
from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import pprint
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import convnext_dense
from convnext_dense.classes import LOADERS
from convnext_dense.config_nodes import nested
from convnext_dense.model_wrappers import device_of

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner as MMEngineRunner

PACKAGES = {'mmengine': 'onedl-mmengine', 'mmcv': 'onedl-mmcv', 'mmdet': 'onedl-mmdetection',
            'mmseg': 'onedl-mmsegmentation'}
#: what decides no number; users put the time into the experiment's name, which names logs
NOT_HASHED = ('work_dir', 'resume', 'load_from', 'launcher', 'experiment_name')


def start_line(runner: MMEngineRunner) -> None:
    """Log versions, commit, config hash, seed, device and data folders of a run, once."""
    if getattr(runner, '_started', False):
        return
    runner._started = True
    device = device_of(runner.model)
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else (
        f'{platform.machine()}, {torch.get_num_threads()} threads')
    parts = [f'convnext-dense {convnext_dense.__version__} (commit {commit()})',
             f'python {platform.python_version()}', f'torch {torch.__version__}',
             *(f'{key} {version(package)}' for key, package in PACKAGES.items()),
             f'config {config_hash(runner.cfg)}',
             f'seed {runner.seed}{", deterministic" if runner.deterministic else ""}',
             f'{runner.world_size} x {device.type} ({name})',
             f'data {", ".join(data_roots(runner.cfg)) or "unknown"}']
    runner.logger.info('run: ' + '; '.join(parts))


def version(package: str) -> str:
    """Installed version of a package, without importing it."""
    for name in (package, package.replace('onedl-', '')):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return 'absent'


def commit() -> str:
    """Commit of the toolkit's checkout, with ``+changes`` where files differ; else ``unknown``."""
    root = Path(convnext_dense.__file__).parent.parent
    if not (root / '.git').exists():
        return 'unknown'
    try:
        head, changed = (subprocess.run(
            ['git', '-C', root, *command], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip() for command in (['rev-parse', '--short=12', 'HEAD'],
                                         ['status', '--porcelain', '-uno']))
    except (OSError, subprocess.SubprocessError):
        return 'unknown'
    return head + ('+changes' if changed else '')


def config_hash(cfg: Config) -> str:
    """Short hash of a resolved config, the same wherever its results are put."""
    if not hasattr(cfg, 'to_dict'):
        return 'none'
    rest = {key: value for key, value in cfg.to_dict().items() if key not in NOT_HASHED}
    return hashlib.sha256(pprint.pformat(rest).encode()).hexdigest()[:12]


def data_roots(cfg: Config) -> list[str]:
    """The folders that the data sets of a config name, each once.

    What is no folder is passed over: it may be of a data set that this run does not read.
    """
    roots: list[str] = []
    for key in LOADERS:
        for node in nested(cfg.get(key)):
            root = node.get('data_root')
            if isinstance(root, (str, os.PathLike)) and str(root) and str(root) not in roots:
                roots.append(str(root))
    return roots
