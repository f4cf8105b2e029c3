"""Evaluating a model in bfloat16."""
import functools
from typing import Any

import torch
from torch import nn

from convnext_dense.acceleration.float32_predictions import predict_in_float32
from convnext_dense.acceleration.forms import Form, give_form
from convnext_dense.models.layers import GRN
from convnext_dense.plain_layers import is_plain


def evaluate_in_bfloat16(model: nn.Module) -> list[str]:
    """Let a model that is only evaluated compute in bfloat16 where autocast would, in place.

    Its forward pass runs under autocast, norms keep their statistics and heads give their
    predictions in float32. The weights of convolutions and linear layers are cast once: autocast
    casts those that need no gradient anew at each call.

    Args:
        model (nn.Module): a detector, segmenter or backbone in evaluation mode, not to be trained.

    Returns:
        list[str]: phrases for the log.
    """
    layers = [layer for layer in model.modules()
              if isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd))]
    for layer in layers:
        layer.to(torch.bfloat16)
    heads = predict_in_float32(model)
    give_form(model, Bfloat16GRN, is_plain)
    run_in_bfloat16(model)
    return [f'{len(layers)} layers in bfloat16', f'float32 predictions of {len(heads)} heads']


def run_in_bfloat16(model: nn.Module) -> None:
    """Let a model's forward pass run under autocast in bfloat16, in place."""
    model.__class__ = _in_bfloat16(type(model))  # type: ignore[arg-type, assignment]


class Bfloat16GRN(GRN, Form):
    """A GRN on a CPU whose maps stay in bfloat16, while its norms are summed up in float32.

    Autocast makes maps of float32 and reduces them slowly; a product with ones adds up as fast as
    the memory gives.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.bfloat16 or not x.is_cpu or torch.is_grad_enabled():
            return super().forward(x)
        with torch.autocast('cpu', enabled=False):
            squares = x.float().square_().flatten(1, 2)
            norm = (squares.new_ones(1, squares.shape[1]) @ squares).sqrt_()[:, None]
            scale = self.gamma * (norm / (norm.mean(-1, keepdim=True) + self.eps)) + 1
            return torch.addcmul(self.beta.to(x.dtype), scale.to(x.dtype), x)


@functools.cache
def _in_bfloat16(cls: type[nn.Module]) -> type[nn.Module]:
    """A form of ``cls`` whose forward pass runs under autocast."""

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(next(self.parameters()).device.type, torch.bfloat16):
            return cls.forward(self, *args, **kwargs)

    return type(f'{cls.__name__}InBfloat16', (cls, Form), dict(forward=forward))
