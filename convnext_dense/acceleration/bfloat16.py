"""Evaluating a model in bfloat16, and whether that pays on this CPU."""
import functools
import time
from typing import Any

import torch
from torch import nn

from convnext_dense.acceleration.float32_predictions import predict_in_float32
from convnext_dense.acceleration.forms import Form

#: how much faster products in bfloat16 must be. Norms, depthwise convolutions and casts do not
#: gain, and the faster forms compute in float32: at 3 (AVX512-BF16) whole models gain 1.3 to 1.7
PAYS_FROM = 2.


@functools.cache
def bfloat16_gain(rounds: int = 5) -> float:
    """How many times faster than in float32 this CPU multiplies matrices in bfloat16.

    Measured once a process, in about a tenth of a second, on a product of the size of a pointwise
    layer; 1 and less where bfloat16 is emulated.

    Args:
        rounds (int): of which the fastest counts.
    """
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator) for shape in ((2048, 384), (384, 1536)))
    seconds = []
    for one, other in ((x, weight), (x.bfloat16(), weight.bfloat16())):
        times = []
        for _ in range(rounds + 1):
            begin = time.perf_counter()
            one @ other
            times.append(time.perf_counter() - begin)
        seconds.append(min(times[1:]))
    return seconds[0] / seconds[1]


def bfloat16_pays() -> bool:
    """Whether mixed precision is worth it on this CPU."""
    return bfloat16_gain() >= PAYS_FROM


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
    model.__class__ = _in_bfloat16(type(model))  # type: ignore[arg-type, assignment]
    return [f'{len(layers)} layers in bfloat16', f'float32 predictions of {len(heads)} heads']


@functools.cache
def _in_bfloat16(cls: type[nn.Module]) -> type[nn.Module]:
    """A form of ``cls`` whose forward pass runs under autocast."""

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(next(self.parameters()).device.type, torch.bfloat16):
            return cls.forward(self, *args, **kwargs)

    return type(f'{cls.__name__}InBfloat16', (cls, Form), dict(forward=forward))
