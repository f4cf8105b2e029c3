"""`train --log`: mmengine's backends, and one line where their package is missing."""
from types import ModuleType

import pytest
from mmengine.config import Config

from convnext_dense.cli import main
from convnext_dense.commands.train import LOGS
from convnext_dense.errors import InputError
from convnext_dense.runtime import log_backends
from convnext_dense.runtime.log_backends import BACKENDS, add_log_backends, viewing_lines


@pytest.fixture
def installed(monkeypatch):
    """All three packages, as far as looking for them goes."""
    monkeypatch.setattr(log_backends, 'find_spec', lambda name: ModuleType(name))


def config(**settings):
    return Config(dict(work_dir='work/fruit', **settings))


def types(cfg):
    return [backend['type'] for backend in cfg.visualizer.vis_backends]


def test_the_names_are_those_of_the_option():
    assert LOGS == tuple(BACKENDS)


def test_backends_come_to_those_of_the_config_and_once(installed):
    cfg = config(visualizer=dict(type='DetLocalVisualizer',
                                 vis_backends=[dict(type='LocalVisBackend')]))
    add_log_backends(cfg, ['tensorboard', 'mlflow', 'tensorboard'])
    add_log_backends(cfg, ['tensorboard'])
    assert types(cfg) == ['LocalVisBackend', 'TensorboardVisBackend', 'MLflowVisBackend']
    assert cfg.visualizer.type == 'DetLocalVisualizer'


def test_a_config_without_a_visualizer_keeps_the_local_files(installed):
    cfg = config()
    add_log_backends(cfg, ['wandb'])
    assert types(cfg) == ['LocalVisBackend', 'WandbVisBackend']
    assert cfg.visualizer.vis_backends[1].init_kwargs.name == 'fruit'


def test_nothing_asked_changes_nothing():
    cfg = config()
    add_log_backends(cfg, [])
    assert 'visualizer' not in cfg


def test_mlflow_goes_where_its_variable_says(installed, monkeypatch):
    monkeypatch.setenv('MLFLOW_TRACKING_URI', 'http://tracking:5000')
    cfg = config()
    add_log_backends(cfg, ['mlflow', 'tensorboard'])
    assert viewing_lines(cfg) == [
        'MLflow: mlflow ui --backend-store-uri http://tracking:5000',
        'TensorBoard: tensorboard --logdir work/fruit']


def test_mlflow_writes_into_the_work_directory_where_nothing_says_else(installed, monkeypatch):
    monkeypatch.delenv('MLFLOW_TRACKING_URI', raising=False)
    cfg = Config(dict(work_dir='/work/fruit'))
    add_log_backends(cfg, ['mlflow'])
    backend = cfg.visualizer.vis_backends[1]
    assert backend.tracking_uri == 'sqlite:////work/fruit/mlflow.db'
    assert backend.artifact_location == 'file:///work/fruit/mlflow'


@pytest.mark.parametrize('name', LOGS)
def test_a_missing_package_is_named_with_its_command(name, monkeypatch):
    monkeypatch.setattr(log_backends, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match=f'--log {name}: .* pip install {name}'):
        add_log_backends(config(), [name])


def test_an_unknown_log_is_refused_by_the_command(capsys):
    with pytest.raises(SystemExit):
        main(['train', '--log', 'visdom'])
    assert "invalid choice: 'visdom'" in capsys.readouterr().err
