"""Which pixels weights were trained on, and what to say where a model has others."""
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from convnext_dense.checkpoints import sharded, zoo
from convnext_dense.checkpoints.fetching import cache_folder
from convnext_dense.checkpoints.formats import recognise
from convnext_dense.checkpoints.origins import project_of
from convnext_dense.checkpoints.reading import safetensors_meta, sniff
from convnext_dense.checkpoints.state_dicts import names_in
from convnext_dense.errors import InputError


def pixel_warning(source: str, mean: Sequence[float] | None,
                  std: Sequence[float] | None) -> str | None:
    """What to say where a model's pixel statistics are not those of its weights.

    Args:
        source (str): a file, URL or name of published weights.
        mean, std (Sequence[float] | None): what the model subtracts and divides by.

    Returns:
        str | None: one line that names both; None where they agree, or nothing is known of the
        source.
    """
    found = pixels_of(str(source))
    if found is None or mean is None or std is None:
        return None
    own, theirs = (*mean, *std), (*found[0], *found[1])
    if len(own) == len(theirs) and all(abs(a - b) < .5 for a, b in zip(own, theirs)):
        return None
    return (f'{source} was trained on pixels of mean {list(found[0])} and deviation '
            f'{list(found[1])}, but model.data_preprocessor has mean={list(mean)}, '
            f'std={list(std)}: set them to those of the weights')


def pixels_of(source: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation of the pixels that weights were trained on, values 0 to 255, RGB.

    Published files are known by name, OpenCLIP's own by the names of their tensors, too, and files
    of ``convert-checkpoint`` by their metadata. Nothing is fetched, and no tensor is read.

    Args:
        source (str): a file, folder, URL or name of published weights.

    Returns:
        tuple | None: None where nothing is known of it.
    """
    entry = zoo.entry_of(source) or zoo.entry_of(Path(source).name)
    if entry:
        return entry.mean, entry.std
    clip = zoo.CLIP_MEAN, zoo.CLIP_STD
    if Path(urlsplit(source).path).name in sharded.OPEN_CLIP:
        return clip
    path = cache_folder() / zoo.cache_name(source) if '://' in source else Path(source).expanduser()
    try:
        if path.is_file() and path.suffix == '.safetensors' and sniff(path) == 'safetensors':
            noted = _noted(safetensors_meta(path).get('pixels'))
            if noted:
                return noted
        names = names_in(path) if path.exists() else []
    except InputError:  # whoever loads the file says so
        return None
    return clip if project_of(dict.fromkeys(names), recognise(names)) == 'OpenCLIP' else None


def _noted(pixels: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation as a converted file notes them; None for anything else."""
    if not isinstance(pixels, dict):
        return None
    mean, std = (tuple(values) if isinstance(values, list) else ()
                 for values in (pixels.get('mean'), pixels.get('std')))
    known = mean and std and all(type(value) in (int, float) and math.isfinite(value)
                                 for value in (*mean, *std))
    return (mean, std) if known else None
