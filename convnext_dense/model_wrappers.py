"""The model inside of what mmengine wraps it in, and where it is."""
import torch
from torch import nn


def unwrap(model: nn.Module) -> nn.Module:
    """The detector or segmenter inside of wrappers for distributed work and augmented testing."""
    # not at the top: it finds and imports transformers, which takes seconds
    from mmengine.model import BaseTTAModel, is_model_wrapper
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        inner = model.module
        assert isinstance(inner, nn.Module)
        model = inner
    return model


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's parameters, the CPU for a model without any."""
    return next(model.parameters(), torch.empty(0)).device


def local_part(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor that may be sharded between processes."""
    return tensor.to_local() if hasattr(tensor, 'to_local') else tensor
