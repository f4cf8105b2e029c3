"""Mixed precision on a CPU."""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from convnext_dense.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """mmengine's ``OptimWrapper`` whose forward passes run under a CPU's autocast in bfloat16.

    mmengine's ``AmpOptimWrapper`` asks for a GPU and scales losses, which bfloat16, with the range
    of float32, does not need. Parameters, their gradients and the optimizer stay in float32.
    Takes the arguments of ``OptimWrapper``; :func:`convnext_dense.config.set_device` puts it where
    a recipe says ``AmpOptimWrapper`` and the CPU computes in bfloat16.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of a forward pass, gradient accumulation included."""
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
