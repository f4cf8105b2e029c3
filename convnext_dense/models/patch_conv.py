"""Convolutions of patches that do not overlap, such as those between ConvNeXt's stages."""
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from convnext_dense.models.layers import computed_by_hand


class PatchConv2d(nn.Conv2d):
    """``nn.Conv2d`` whose stride is its kernel size, without padding.

    On a CPU in float32 its gradients are matrix products, which take half the time of oneDNN's.

    Args:
        in_channels, out_channels (int): C and O.
        patch_size (int): side of a patch in pixels.
    """

    def __init__(self, in_channels, out_channels, patch_size):
        super().__init__(in_channels, out_channels, patch_size, stride=patch_size)

    def forward(self, x):
        """Maps of shape (N, C, H, W) to (N, O, H // patch_size, W // patch_size)."""
        if not computed_by_hand(x) or not torch.is_grad_enabled() or any(
                side % size for side, size in zip(x.shape[2:], self.kernel_size)):
            return super().forward(x)
        return _PatchConvolution.apply(x, self.weight, self.bias)


class _PatchConvolution(Function):

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, stride=weight.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        features, channels, height, width = weight.shape
        rows = grad.permute(0, 2, 3, 1).reshape(-1, features)
        grads = [None, None, None]
        # as pictures, rows of patches, rows of a patch, patches, columns of a patch, channels
        shape = len(x), grad.shape[2], height, grad.shape[3], width, channels
        if ctx.needs_input_grad[0]:
            patches = rows @ weight.permute(0, 2, 3, 1).reshape(features, -1)
            patches = patches.view(*shape[:2], shape[3], height, width, channels)
            grads[0] = patches.transpose(2, 3).reshape(
                len(x), *x.shape[2:], channels).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            patches = x.permute(0, 2, 3, 1).reshape(shape).transpose(2, 3)
            grads[1] = (rows.T @ patches.reshape(len(rows), -1)).view(
                features, height, width, channels).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[2]:
            grads[2] = rows.sum(0)
        return tuple(grads)
