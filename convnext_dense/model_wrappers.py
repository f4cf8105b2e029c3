"""The model inside of what mmengine wraps it in."""
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
