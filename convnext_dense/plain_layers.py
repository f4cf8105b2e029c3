"""When a faster form may stand in for layers: each computes what its class says, no more.

LoRA and parametrisations change a layer's class, pruning and hooks watch its call; a form that
reads the layer's parameters would pass over all of them.
"""
import torch
from torch import Tensor, nn

from convnext_dense.private.torch import has_hooks


def is_plain(module: nn.Module, *classes: type) -> bool:
    """Whether a module is exactly of one of the classes, without hooks or a forward of its own.

    Args:
        module (nn.Module): the layer.
        classes (type): none stands for any class.
    """
    return (not classes or type(module) in classes) and 'forward' not in vars(module) and \
        not has_hooks(module)


def in_float32_on_cpu(x: Tensor) -> bool:
    """Whether a map is one that forms for a CPU compute: eager, not empty, float32, no autocast."""
    return x.device.type == 'cpu' and x.dtype == torch.float32 and x.numel() > 0 and \
        not torch.compiler.is_compiling() and not torch.jit.is_tracing() and \
        not torch.is_autocast_enabled('cpu')
