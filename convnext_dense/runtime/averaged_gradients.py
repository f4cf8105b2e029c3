"""A whole model in each process, by torch's DistributedDataParallel."""
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn

from convnext_dense.parallel import DdpSettings


def wrap_for_processes(model: nn.Module, settings: DdpSettings, wrapper: dict | None,
                       find_unused_parameters: bool,
                       wrap: Callable[[dict | None, nn.Module], nn.Module]) -> nn.Module:
    """Wrap a model so that its gradients are averaged over all processes.

    Args:
        model: on any device.
        settings: of ``parallel``.
        wrapper: ``model_wrapper_cfg`` of the config, in the place of the settings.
        find_unused_parameters: the config's.
        wrap: mmengine's ``Runner.wrap_model``.
    """
    options = asdict(settings)
    in_bfloat16 = options.pop('bfloat16_gradients')
    if wrapper is None:
        wrapper = dict(options, find_unused_parameters=find_unused_parameters,
                       broadcast_buffers=False)
    if not torch.cuda.is_available():  # the processes have no device to name
        wrapper = dict(dict(type='MMDistributedDataParallel', broadcast_buffers=False,
                            find_unused_parameters=find_unused_parameters), **wrapper,
                       device_ids=None)
    wrapped: Any = wrap(wrapper, model)
    if in_bfloat16 and not torch.cuda.is_available():
        print_log('without GPUs gradients are exchanged in float32', 'current')
    elif in_bfloat16:
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
        wrapped.register_comm_hook(None, bf16_compress_hook)
    return wrapped
