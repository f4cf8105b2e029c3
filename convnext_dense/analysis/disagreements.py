"""The validation images on which trained models differ most, with what each of them found."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from torch import nn

from convnext_dense.analysis.benchmark import build_model
from convnext_dense.analysis.run_report.drawing import draw_prediction, draw_truth, network_image
from convnext_dense.analysis.run_report.worst import Mistakes, judge
from convnext_dense.config import set_device
from convnext_dense.prediction.colours import colours_of

LOOKED = 100  # images that are looked at, evenly spread
MOST = 6  # that are shown
SCORE = .3  # least of a drawn object


class Trained(NamedTuple):
    """A trained model: its config, and the file of its weights."""
    cfg: Config
    weights: Path


class Disagreement(NamedTuple):
    """An image on which models differ.

    Attributes:
        name (str): of the image.
        drawings (list[tuple[str, ndarray]]): a caption and an image, uint8 (H, W, 3) in BGR: the
            annotations, then what each model found.
    """
    name: str
    drawings: list[tuple[str, np.ndarray]]


def largest_disagreements(models: Mapping[str, Trained], device: str = 'cpu', most: int = MOST,
                          looked: int = LOOKED) -> list[Disagreement]:
    """The images whose mistakes cost one model most and another least.

    A label map costs the share of its wrong pixels; an object 1 where it was missed, and its score
    where it is wrong: :func:`convnext_dense.analysis.run_report.worst.judge`.

    Args:
        models: by name, with the same validation images.
        device: ``cpu`` or ``cuda``.
        most: images to return.
        looked: images to look at.

    Returns:
        The largest difference first; only images on which there is one.
    """
    cfg = next(iter(models.values())).cfg
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    names = list(dataset.metainfo['classes'])
    palette = dataset.metainfo.get('palette')
    colours = colours_of(names, palette if palette and len(palette) == len(names) else None)
    count = min(looked, len(dataset))
    indices = [index * len(dataset) // count for index in range(count)]
    networks = {name: _network(trained, device) for name, trained in models.items()}
    costs = np.array([[_cost(judge(sample, names)) for _, sample in _predict(
        network, dataset, indices)] for network in networks.values()])
    spread = costs.max(axis=0) - costs.min(axis=0)
    order = [int(i) for i in np.argsort(-spread, kind='stable')[:most] if spread[i] > 0]
    chosen = [indices[i] for i in order]
    found = {name: list(_predict(network, dataset, chosen)) for name, network in networks.items()}
    return [_drawn([(name, *found[name][row]) for name in models], names, colours)
            for row in range(len(chosen))]


def _network(trained: Trained, device: str) -> nn.Module:
    from convnext_dense.acceleration import Acceleration, prepare
    cfg = trained.cfg
    set_device(cfg, device)
    model = build_model(cfg, str(trained.weights), device)
    prepare(model, 'infer', settings=Acceleration.from_config(cfg.get('acceleration'),
                                                              cfg.get('compile')))
    return model


def _predict(model: Any, dataset: Any, indices: Sequence[int]) -> Iterator[tuple[Any, Any]]:
    """Pixels and data sample with prediction and annotations of some images."""
    for index in indices:
        batch = pseudo_collate([dataset[index]])
        pixels = batch['inputs'][0]
        with torch.inference_mode():
            yield pixels, model.val_step(batch)[0]


def _cost(mistakes: Mistakes | None) -> float:
    return mistakes.cost if mistakes else 0.


def _drawn(predictions, names, colours):
    _, pixels, sample = predictions[0]
    image = network_image(pixels, sample)
    truth = draw_truth(image, sample, names, colours)
    drawings = [] if truth is None else [('annotations', truth)]
    for name, _, found in predictions:
        mistakes = judge(found, names)
        drawings.append((f'{name}: {mistakes.text if mistakes else "nothing wrong"}',
                         draw_prediction(image, found, names, colours, SCORE)))
    return Disagreement(Path(sample.img_path).name, drawings)
