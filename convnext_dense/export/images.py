"""Real images to try an export on: the user's, or those of the config's test data."""
import contextlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convnext_dense.errors import InputError, convert_errors
from convnext_dense.prediction import Predictor
from convnext_dense.prediction.model_files import ModelFiles
from convnext_dense.prediction.sources import find_sources
from convnext_dense.resolved_config import check_data_set, check_metrics

ADVICE = 'name images with --images, or give the config itself and --weights, if you trust it'


def check_data(files: ModelFiles, splits: Iterable[str], evaluates: bool) -> None:
    """Refuse data sets and metrics that would run code, where the config was read as data.

    Args:
        files (ModelFiles): of the model.
        splits (Iterable[str]): whose data sets will be read, of ``test`` and ``train``.
        evaluates (bool): the metrics of the test will be used.

    Raises:
        InputError: one is refused.
    """
    if not files.as_data:
        return
    scope = files.cfg.get('default_scope', 'mmengine')
    for split in splits:
        loader = loader_of(files.cfg, split)
        check_data_set(loader.get('dataset') if isinstance(loader, dict) else None, scope,
                       f'the {split} data of {files.source}', ADVICE)
    if evaluates:
        check_metrics(files.cfg.get('test_evaluator') or files.cfg.get('val_evaluator'), scope,
                      f'the evaluator of {files.source}', ADVICE)


def loader_of(cfg: Any, split: str) -> Any:
    """The settings of a split's data loader, or else of validation's."""
    return cfg.get(f'{split}_dataloader') or cfg.get('val_dataloader') or {}


def read_images(predictor: Predictor, cfg: Any, sources: Sequence[str], count: int,
                split: str = 'test') -> list[np.ndarray]:
    """The first images of the sources, or of the config's data.

    Args:
        predictor (Predictor): reads them as its pipeline does.
        cfg (Config): of the model; its data are looked at without ``sources``.
        sources (Sequence[str]): image files, folders and globs.
        count (int): most images.
        split (str): ``test`` or ``train``.

    Returns:
        list[ndarray]: (H, W, 3), BGR.

    Raises:
        InputError: no images there, or one that cannot be read.
    """
    if sources:
        files = [str(source.place) for source in find_sources(list(sources))
                 if source.kind == 'image']
    else:
        files = images_of(cfg, split, count)
    if not files:
        raise InputError(f'{", ".join(sources) or f"the {split} data"}: no image file there')
    return [predictor.input.read(file)[0] for file in files[:count]]


def images_of(cfg: Any, split: str, count: int) -> list[str]:
    """Files of the first images of a config's data.

    Raises:
        InputError: they are not there.
    """
    import copy

    from mmengine.registry import DATASETS

    from convnext_dense.prediction.building import build
    loader = loader_of(cfg, split)
    advice = 'name images' if split == 'test' else 'name images to calibrate with'
    advice += ', or the folder of the data with --data-root'
    with convert_errors(f'the {split} data of the config cannot be read', advice):
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools' lines
            data = build(DATASETS, copy.deepcopy(loader['dataset']), cfg)
        files = [data.get_data_info(index)['img_path'] for index in range(min(count, len(data)))]
    for file in files:
        if not Path(file).is_file():
            raise InputError(f'{file}, of the {split} data of the config, is not there; {advice}')
    return files
