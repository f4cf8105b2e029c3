"""The layout of a model's maps in memory, and operators that know one of them only."""
from typing import Any

import torch
from torch import Tensor, nn

from convnext_dense.private.torch import forward_pre_hooks

#: works on sequences of pixels, which have one layout only
WITHOUT_MAPS = 'mmcv.ops.multi_scale_deform_attn'


def set_memory_format(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Give a model's weights a layout, which its maps follow, in place.

    mmcv's compiled operators (RoIAlign, deformable convolutions) read memory as if every map and
    weight lay channels first, whatever its strides say: some give wrong numbers without a word,
    some raise. Their modules keep contiguous weights and get contiguous maps.

    Args:
        model (nn.Module): a detector, segmenter or backbone.
        memory_format (torch.memory_format): ``torch.channels_last`` or ``contiguous_format``.
    """
    model.to(memory_format=memory_format)  # type: ignore[call-overload]
    for module in model.modules():
        home = type(module).__module__
        if not home.startswith('mmcv.ops.') or home == WITHOUT_MAPS:
            continue
        for parameter in module.parameters():  # also of the layers that compute its offsets
            parameter.data = parameter.data.contiguous()
        if not any(hook is _contiguous for hook in forward_pre_hooks(module)):
            module.register_forward_pre_hook(_contiguous, with_kwargs=True)


def _contiguous(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict]:
    return (tuple(map(_in_order, args)),
            {name: _in_order(value) for name, value in kwargs.items()})


def _in_order(value: Any) -> Any:
    return value.contiguous() if isinstance(value, Tensor) else value
