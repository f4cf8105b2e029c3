"""Curves in TensorBoard, Weights & Biases or MLflow as well, by mmengine's backends."""
import os
from collections.abc import Sequence
from importlib.util import find_spec

from mmengine.config import Config, ConfigDict

from convnext_dense.config_nodes import type_name
from convnext_dense.errors import InputError

#: name of the option: mmengine's backend, the package to import, the package to install
BACKENDS = {
    'tensorboard': ('TensorboardVisBackend', 'tensorboard', 'tensorboard'),
    'wandb': ('WandbVisBackend', 'wandb', 'wandb'),
    'mlflow': ('MLflowVisBackend', 'mlflow', 'mlflow'),
}


def add_log_backends(cfg: Config, names: Sequence[str]) -> None:
    """Let a run's visualizer write to these, beside what the config names.

    Weights & Biases and MLflow read their environment variables as always (``WANDB_PROJECT``,
    ``WANDB_MODE=offline``, ``MLFLOW_TRACKING_URI``, ...). Without the last, MLflow writes into a
    database in the work directory: its files of old, mmengine's default, it refuses by now.

    Args:
        cfg: changed in place; its work directory is set.
        names: keys of ``BACKENDS``.

    Raises:
        InputError: a package is missing.
    """
    if not names:
        return
    visualizer = cfg.get('visualizer') or ConfigDict(type='Visualizer')
    backends = list(visualizer.get('vis_backends') or [dict(type='LocalVisBackend')])
    for name in dict.fromkeys(names):
        backend, module, package = BACKENDS[name]
        if find_spec(module) is None:
            raise InputError(f'--log {name}: the package {package} is not installed here; '
                             f'pip install {package}')
        if backend not in map(type_name, backends):
            backends.append(dict(type=backend, **_settings(name, cfg)))
    cfg.visualizer = ConfigDict(visualizer, vis_backends=backends)


def _settings(name, cfg):
    run = os.path.basename(os.path.abspath(cfg.work_dir))
    if name == 'wandb':
        return dict(init_kwargs=dict(name=run))
    if name == 'mlflow':
        settings = dict(exp_name='convnext_dense', run_name=run)
        uri = os.environ.get('MLFLOW_TRACKING_URI')
        if uri:
            return dict(settings, tracking_uri=uri)
        folder = os.path.abspath(cfg.work_dir)
        return dict(settings, tracking_uri=f'sqlite:///{folder}/mlflow.db',
                    artifact_location=f'file://{folder}/mlflow')
    return {}


def viewing_lines(cfg: Config) -> list[str]:
    """How to look at what the backends of a run wrote, a line each."""
    lines = []
    for backend in (cfg.get('visualizer') or {}).get('vis_backends') or []:
        kind = type_name(backend)
        if kind == 'TensorboardVisBackend':
            lines.append(f'TensorBoard: tensorboard --logdir {cfg.work_dir}')
        elif kind == 'MLflowVisBackend' and backend.get('tracking_uri'):
            uri = backend['tracking_uri']
            lines.append(f'MLflow: mlflow ui --backend-store-uri {uri}')
    return lines
