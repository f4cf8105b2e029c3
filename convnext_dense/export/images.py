"""Real images to try an export on: the user's, or those of the config's test data."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convnext_dense.errors import InputError, convert_errors
from convnext_dense.prediction import Predictor
from convnext_dense.prediction.sources import find_sources


def read_images(predictor: Predictor, cfg: Any, sources: Sequence[str], count: int
                ) -> list[np.ndarray]:
    """The first images of the sources, or of the test data.

    Args:
        predictor (Predictor): reads them as its pipeline does.
        cfg (Config): of the model; its ``test_dataloader`` is looked at without ``sources``.
        sources (Sequence[str]): image files, folders and globs.
        count (int): most images.

    Returns:
        list[ndarray]: (H, W, 3), BGR.

    Raises:
        InputError: no images there, or one that cannot be read.
    """
    if sources:
        files = [str(source.place) for source in find_sources(list(sources))
                 if source.kind == 'image']
    else:
        files = test_images(cfg, count)
    if not files:
        raise InputError(f'{", ".join(sources) or "the test data"}: no image file there')
    return [predictor.input.read(file)[0] for file in files[:count]]


def test_images(cfg: Any, count: int) -> list[str]:
    """Files of the first images of a config's test data.

    Raises:
        InputError: they are not there.
    """
    import copy

    from mmengine.registry import DATASETS

    from convnext_dense.prediction.building import build
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}
    advice = 'name images with --images, or the data with --data-root'
    with convert_errors('the test data of the config cannot be read', advice):
        data = build(DATASETS, copy.deepcopy(loader['dataset']), cfg)
        files = [data.get_data_info(index)['img_path'] for index in range(min(count, len(data)))]
    for file in files:
        if not Path(file).is_file():
            raise InputError(f'{file}, of the test data of the config, is not there; {advice}')
    return files
