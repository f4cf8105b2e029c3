"""A ConvNeXt block that trains on a CPU: the same values and gradients in fewer passes over memory.

The gradients are written out by hand, so that each map is read and written as seldom as torch's
operators allow, and only what the backward pass needs is kept.
"""
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from convnext_dense.acceleration.cpu.pointwise import PointwisePair
from convnext_dense.acceleration.forms import Form
from convnext_dense.models.convnext import Block
from convnext_dense.models.layers import GRN, PointwiseConv2d
from convnext_dense.plain_layers import in_float32_on_cpu, is_plain


class CpuBlock(Block, Form):
    """A :class:`Block` whose gradients are written by hand, for float32 on a CPU."""

    def compute(self, x: Tensor) -> Tensor:
        if not in_float32_on_cpu(x) or not layers_are_plain(self):
            return super().compute(x)
        y = DepthwiseConv.apply(x, self.dwconv.weight, self.dwconv.bias)
        y = self.norm(y).permute(0, 2, 3, 1)
        factor = None
        if self.training and not isinstance(self.drop_path, nn.Identity):
            factor = self.drop_path(x.new_ones(len(x), 1, 1, 1))
        keep = torch.is_grad_enabled() and (y.requires_grad or any(
            parameter.requires_grad for parameter in self.parameters()))
        grn = (self.grn.gamma, self.grn.beta, self.grn.eps) if self.use_grn else (None, None, 0.)
        y = PointwisePair.apply(
            y, x.permute(0, 2, 3, 1), self.pwconv1.weight.flatten(1), self.pwconv1.bias,
            self.pwconv2.weight.flatten(1), self.pwconv2.bias,
            self.gamma if self.layer_scale else None, *grn, factor, keep)
        return y.permute(0, 3, 1, 2)


def layers_are_plain(block: Block) -> bool:
    """Whether a form may read the parameters of all layers but the norm, which it calls."""
    return is_depthwise7(block.dwconv) and \
        is_plain(block.act, nn.GELU) and block.act.approximate == 'none' and \
        all(is_plain(layer, nn.Linear, PointwiseConv2d) and layer.bias is not None
            for layer in (block.pwconv1, block.pwconv2)) and \
        is_plain(block.drop_path, nn.Identity, DropPath) and \
        (not block.use_grn or is_plain(block.grn, GRN))


def is_depthwise7(conv: nn.Module) -> bool:
    """Whether a module is a plain depthwise 7x7 convolution that keeps the size of its maps."""
    return is_plain(conv, nn.Conv2d) and conv.kernel_size == (7, 7) and \
        conv.padding == (3, 3) and conv.stride == conv.dilation == (1, 1) and \
        conv.groups == conv.in_channels == conv.out_channels and conv.padding_mode == 'zeros'


class DepthwiseConv(Function):
    """A depthwise 7x7 convolution with padding 3; its gradients are computed one by one.

    A filter's gradient at tap t is the sum over pixels p of x[p + t] grad[p]: a depthwise
    convolution as well, of the maps with the outputs' gradient as filters. oneDNN has a fast kernel
    for it, but none for filters' gradients of 7x7.
    Takes maps (N, C, H, W), the weight (C, 1, 7, 7) and the bias (C, ).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=3, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grads: list[Tensor | None] = [None, None, None]
        if ctx.needs_input_grad[0]:
            grads[0] = torch.ops.aten.convolution_backward(
                grad, x, weight, None, [1, 1], [3, 3], [1, 1], False, [0, 0], len(weight),
                [True, False, False])[0]
        if ctx.needs_input_grad[1]:
            size = x.shape[2:]
            per_image = F.conv2d(x.contiguous().view(1, -1, *size),
                                 grad.contiguous().view(-1, 1, *size), padding=3,
                                 groups=x.shape[:2].numel())
            grads[1] = per_image.view(len(x), *weight.shape).sum(0)
        if ctx.needs_input_grad[2]:
            grads[2] = grad.sum((0, 2, 3))
        return tuple(grads)
