"""Building a trained model for prediction, as ``tools/test.py`` does."""
import threading
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope, Registry

from convnext_dense.config import set_device
from convnext_dense.errors import InputError, convert_errors
from convnext_dense.prediction.model_files import ModelFiles

#: mmengine keeps the default scope for the whole process; it is changed while something is built
_BUILDING = threading.Lock()


def build_model(files: ModelFiles, device: torch.device) -> torch.nn.Module:
    """The model of a config with its weights, ready to predict.

    Args:
        files (ModelFiles): config and weights; the config is fitted to the device.
        device (torch.device): where it will run.

    Returns:
        nn.Module: in evaluation mode.

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
    model = model.to(device).eval().requires_grad_(False)
    if cfg.get('memory_format') == 'channels_last':
        prepare(model, device)
    return model


def prepare(model: torch.nn.Module, device: torch.device) -> None:
    """Give a model the forms of its layers that tests use: the same values in less time."""
    from convnext_dense.acceleration.cpu.inference import prepare_for_inference
    if device.type == 'cpu':
        prepare_for_inference(model)
    else:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def build(registry: Registry, settings: dict, cfg: Config) -> Any:
    """Build a part of a config in the config's scope; the process's own stays as it is."""
    with _BUILDING, DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        return registry.build(settings)


def build_transforms(steps: list[dict], cfg: Config) -> list:
    """The transforms of a pipeline's settings."""
    with convert_errors('the test pipeline', 'look at test_dataloader.dataset.pipeline'):
        return [build(TRANSFORMS, step, cfg) if isinstance(step, dict) else step
                for step in steps]
