"""Heads that attend to places in feature maps: what a count of DINO and Mask2Former runs.

Where they look depends on values, so that shapes alone do not do: they run on the CPU, with weights
and maps of zeros.
"""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

OUTSIDE = ('backbone', 'neck', 'data_preprocessor', 'panoptic_fusion_head')


def has_transformer(model: nn.Module) -> bool:
    """Whether a model is of the DETR family, or has a head of Mask2Former's."""
    return hasattr(model, 'forward_transformer') or _mask_head(model) is not None


def call_transformer(model: nn.Module, maps: Sequence[Tensor], size: tuple[int, int],
                     call: Callable) -> None:
    """Run everything after backbone and neck.

    Args:
        model (nn.Module): on the meta device, in evaluation mode; its heads are moved.
        maps (Sequence[Tensor]): feature maps on the meta device.
        size (tuple[int, int]): height and width of the image in pixels.
        call (Callable): ``call(name of the part, module, *inputs)``.
    """
    from mmdet.structures import DetDataSample
    sample = DetDataSample(metainfo=dict(
        img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size,
        scale_factor=(1., 1.)))
    zeros = tuple(torch.zeros(one.shape) for one in maps)
    if hasattr(model, 'forward_transformer'):
        call('transformer_head', _on_cpu(_Transformer(model)), zeros, [sample])
    else:
        name, head = _mask_head(model) or ('', None)
        call(name, _on_cpu(head), zeros, [sample])


def _mask_head(model):
    for name in ('decode_head', 'panoptic_head'):
        head = getattr(model, name, None)
        if hasattr(head, 'transformer_decoder') and hasattr(head, 'pixel_decoder'):
            return name, head
    return None


def _on_cpu(module):
    module.to_empty(device='cpu')
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.zero_()
    return module


class _Transformer(nn.Module):
    """What a DETR has after backbone and neck, as one module."""

    model: Any

    def __init__(self, model: Any) -> None:
        super().__init__()
        for name, child in model.named_children():
            if name not in OUTSIDE:
                self.add_module(name, child)
        for name, parameter in model.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        object.__setattr__(self, 'model', model)  # no part of this module

    def forward(self, maps: Sequence[Tensor], samples: list) -> Any:
        """Scores and boxes of every layer of the decoder."""
        # to_empty gave this module other parameters than the model's
        for name, parameter in self.named_parameters(recurse=False):
            setattr(self.model, name, parameter)
        return self.model.bbox_head(**self.model.forward_transformer(maps, samples))
