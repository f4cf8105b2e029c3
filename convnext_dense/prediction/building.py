"""Building a trained model for prediction, as ``tools/test.py`` does."""
import copy
import threading
from dataclasses import replace
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope, Registry

from convnext_dense.acceleration import Acceleration, prepare
from convnext_dense.config import set_device
from convnext_dense.errors import InputError, convert_errors
from convnext_dense.prediction.model_files import ModelFiles

#: mmengine keeps the default scope for the whole process; it is changed while something is built
_BUILDING = threading.Lock()


def build_model(files: ModelFiles, device: torch.device, prepared: bool = True,
                precision: str = 'float32') -> torch.nn.Module:
    """The model of a config with its weights, ready to predict.

    Args:
        files (ModelFiles): config and weights; the config is fitted to the device.
        device (torch.device): where it will run.
        prepared (bool): with the faster forms that a test gives it; otherwise the layers stay as
            they are.
        precision (str): that it is prepared to compute in, ``float32`` or ``bf16``.

    Returns:
        nn.Module: in evaluation mode. The toolkit's mask heads are set to give masks as crops
        (``cropped``, see :class:`convnext_dense.detection.mask_head.FCNMaskHead`).

    Raises:
        InputError: the config does not build, or the weights are not its own.
    """
    from convnext_dense.checkpoints import load_weights
    cfg = files.cfg
    set_device(cfg, device.type)
    # initial weights are drawn at random; they are all replaced
    with torch.random.fork_rng(devices=[]), convert_errors(
            f'the model of {files.source}', 'look at its config'):
        model = build(MODELS, cfg.model, cfg)
    report = load_weights(model, files.checkpoint, name=files.source)
    if report.backbone_only:
        raise InputError(f'{files.source} holds a backbone only, whose heads were never trained; '
                         'give the weights of the whole model')
    settings = Acceleration.from_config(cfg.get('acceleration')) if prepared else None
    # as a test prepares it, but for compiling, which takes longer than most predictions
    prepare(model, 'infer', device, settings and replace(
        settings, compile=False, bfloat16=settings.bfloat16 or precision == 'bf16'))
    for head in model.modules():
        if hasattr(head, 'cropped'):  # their classes would import mmdet for a segmenter, too
            head.cropped = True
    return model


def build(registry: Registry, settings: dict, cfg: Config) -> Any:
    """Build a part of a config in the config's scope; the process's own stays as it is."""
    with _BUILDING, DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        return registry.build(copy.deepcopy(settings))  # detectors write into theirs


def build_transforms(steps: list[dict], cfg: Config) -> list:
    """The transforms of a pipeline's settings."""
    with convert_errors('the test pipeline', 'look at test_dataloader.dataset.pipeline'):
        return [build(TRANSFORMS, step, cfg) if isinstance(step, dict) else step
                for step in steps]
