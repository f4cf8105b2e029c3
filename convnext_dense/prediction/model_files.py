"""What ``--model`` means: where the config and the weights of a model are."""
import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from convnext_dense.config import load_config
from convnext_dense.config_files import FOLDER, find_config
from convnext_dense.config_nodes import nested, type_name
from convnext_dense.errors import InputError
from convnext_dense.resolved_config import check_parts, parse_config

CHECKPOINTS = ('.pth', '.pt', '.safetensors')


class ModelFiles(NamedTuple):
    """A model that is not built yet.

    Attributes:
        cfg (Config): its whole config.
        checkpoint (dict): what the file of its weights holds.
        source (str): the file, or the published name, of its weights.
        names (tuple[str]): of its classes.
        palette (list | None): their colours, RGB, where the config or data set has some.
        as_data (bool): the config was read as data, and may be a stranger's.
    """
    cfg: Config
    checkpoint: dict
    source: str
    names: tuple
    palette: list | None
    as_data: bool = True


def find_model(model: str | Path, weights: str | Path | None = None) -> ModelFiles:
    """Read the config and the weights of a model.

    Args:
        model (str | Path): a work directory or a checkpoint of one, whose resolved config is read
            as data; or a config file, which runs as in training, and needs ``weights``; or the
            name of published weights, or of a config of the toolkit.
        weights (str | Path, optional): a path, URL or published name. It may be left out where
            ``model`` leads to weights.

    Returns:
        ModelFiles: with checked contents.

    Raises:
        InputError: nothing there, no weights, or a resolved config that would run code.
    """
    from convnext_dense.checkpoints import locate, read_checkpoint
    path, as_data = Path(model).expanduser(), True
    if path.is_dir():
        source = str(weights or weights_of(path))
        checkpoint = read_checkpoint(locate(source))
        cfg = resolved_config(path, source, checkpoint)
    elif path.suffix in CHECKPOINTS:
        if weights:
            raise InputError(f'{model} and {weights} are both weights; give the config or the '
                             'work directory as the model')
        source, checkpoint = str(model), read_checkpoint(locate(model))
        cfg = resolved_config(path.parent, source, checkpoint)
    else:
        config = find_config(model)
        source = str(weights or _published(config) or '')
        if not source:
            raise InputError(f'{model} is a config; give its weights, too, with --weights')
        cfg, checkpoint = load_config(config), read_checkpoint(locate(source))
        as_data = False
    if not isinstance(cfg.get('model'), dict) or not cfg.model.get('type'):
        raise InputError(f'{model}: its config has no model=dict(type=...)')
    names, palette = _classes(cfg, checkpoint, source)
    return ModelFiles(cfg, checkpoint, source, names, palette, as_data)


def weights_of(folder: Path) -> str | Path:
    """The weights that a work directory is for: the best, or else the last.

    Raises:
        InputError: it has none.
    """
    from convnext_dense.checkpoints.reading import is_whole
    from convnext_dense.runtime.newest_checkpoint import newest_whole
    best = sorted((path for path in folder.glob('best_*.pth')),
                  key=lambda path: path.stat().st_mtime, reverse=True)
    for path in best:
        if is_whole(path):
            return path
    newest, _ = newest_whole(folder)
    if newest:
        return newest
    others = [path for path in folder.iterdir() if path.suffix in CHECKPOINTS]
    if len(others) == 1:
        return others[0]
    raise InputError(f'{folder} has no whole checkpoint' + (
        f' of a training, but {len(others)} files of weights; name one with --weights' if others
        else '; train there first, or give --weights'))


def resolved_config(folder: Path, source: str, checkpoint: dict) -> Config:
    """The config that a run kept: in its checkpoint, or as the only ``.py`` of its folder.

    Raises:
        InputError: there is none, or it is more than data.
    """
    meta = checkpoint.get('meta')
    text = meta.get('cfg') if isinstance(meta, dict) else None
    name = f'the config in {source}'
    if not text:
        files = sorted(folder.glob('*.py'))
        if len(files) != 1:
            raise InputError(f'{source} holds no config, and {folder} has {len(files)} files that '
                             'may be one; give the config and --weights')
        name = f'config {files[0]}'
        try:
            text = files[0].read_text(encoding='utf-8')
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f'{name} cannot be read: {error}') from error
    cfg = parse_config(text, name)
    scope = cfg.get('default_scope', 'mmengine')
    for settings in (cfg.get('model'), pipeline_of_tests(cfg, name)):
        check_parts(settings, scope, name)
    return cfg


def pipeline_of_tests(cfg: Config, name: str) -> list[dict]:
    """The settings of the pipeline that tests use.

    Raises:
        InputError: there is none.
    """
    for part in _data_sets(cfg):
        if isinstance(part.get('pipeline'), (list, tuple)) and part['pipeline'] and \
                all(isinstance(step, dict) for step in part['pipeline']):
            return list(part['pipeline'])
    raise InputError(f'{name} has no test_dataloader.dataset.pipeline, which says how images are '
                     'read')


def _data_sets(cfg):
    """The settings of the data sets that tests, or else validation, read."""
    return nested(cfg.get('test_dataloader') or cfg.get('val_dataloader') or {})


def _published(config):
    """Name of the published weights that a config of the package is for, or None."""
    from convnext_dense.checkpoints.zoo import entries
    return next((entry.name for entry in entries().values()
                 if entry.config and FOLDER / entry.config == config), None)


def _classes(cfg, checkpoint, source):
    """Names of the classes, of the training, the config or the data set's type; and their colours.

    A checkpoint's own colours are left out: mmseg draws random ones where a data set has none.
    """
    meta = checkpoint.get('meta')
    trained = meta.get('dataset_meta') if isinstance(meta, dict) else None
    stated = [part['metainfo'] for part in _data_sets(cfg)
              if isinstance(part.get('metainfo'), dict)]
    infos = [*stated, *_of_data_sets(cfg)]
    names = next(filter(None, map(_names, [trained, *infos])), None)
    if names is None:
        raise InputError(f'{source} and its config name no classes; set metainfo=dict(classes=...) '
                         'in test_dataloader.dataset')
    palettes = [info.get('palette') for info in infos if _names(info) == names]
    return names, next((list(palette) for palette in palettes
                        if isinstance(palette, (list, tuple)) and len(palette) == len(names)), None)


def _names(info):
    """The classes of a data set's meta information, or None."""
    names = info.get('classes') if isinstance(info, dict) else None
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) and names else None


def _of_data_sets(cfg):
    """The classes that the config's data set types have by themselves, looked up when needed."""
    from mmengine.registry import DATASETS, DefaultScope
    scope = cfg.get('default_scope', 'mmengine')
    for part in _data_sets(cfg):
        kind = part.get('type')
        if not isinstance(kind, str):
            yield getattr(kind, 'METAINFO', {})
        elif kind.isidentifier() or kind.partition('.')[0] in ('mmdet', 'mmseg'):
            with DefaultScope.overwrite_default_scope(scope), \
                    DATASETS.switch_scope_and_registry(None) as registry:
                with redirect_stdout(io.StringIO()):  # lines about packages that nobody needs
                    registry.import_from_location()
                found = registry.module_dict.get(type_name(part))
            yield getattr(found, 'METAINFO', {})
