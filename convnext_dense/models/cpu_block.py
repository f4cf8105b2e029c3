"""A block on a CPU: the same values and gradients in fewer passes over memory.

The gradients are written out by hand, so that each map is read and written as seldom as torch's
operators allow, and only what the backward pass needs is kept.
"""
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from convnext_dense.models.layers import LayerNorm2d, layer_norm_last


def fits(block, x):
    """Whether :func:`compute` gives what the layers of a ``Block`` would, one after the other."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    layers = block.dwconv, block.pwconv1, block.act, block.pwconv2
    return x.device.type == 'cpu' and x.dtype == torch.float32 and x.numel() > 0 and \
        type(block.act) is nn.GELU and block.act.approximate == 'none' and \
        not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers) and \
        not torch.is_autocast_enabled('cpu')


def compute(block, x):
    """The forward pass of a ``Block`` with maps (N, C, H, W), for which :func:`fits` is true."""
    y = DepthwiseConv.apply(x, block.dwconv.weight, block.dwconv.bias)
    y = layer_norm_last(y.permute(0, 2, 3, 1), block.norm) if isinstance(
        block.norm, LayerNorm2d) else block.norm(y).permute(0, 2, 3, 1)
    factor = None
    if block.training and not isinstance(block.drop_path, nn.Identity):
        factor = block.drop_path(x.new_ones(len(x), 1, 1, 1))
    grn = (block.grn.gamma, block.grn.beta, block.grn.eps) if block.use_grn else (None, None, 0.)
    y = PointwisePair.apply(
        y, x.permute(0, 2, 3, 1), block.pwconv1.weight.flatten(1), block.pwconv1.bias,
        block.pwconv2.weight.flatten(1), block.pwconv2.bias,
        block.gamma if block.layer_scale else None, *grn, factor, torch.is_grad_enabled())
    return y.permute(0, 3, 1, 2)


class DepthwiseConv(Function):
    """A depthwise 7x7 convolution with padding 3; its three gradients are computed one by one.

    oneDNN takes twice as long for all of them together. Takes maps (N, C, H, W), the weight
    (C, 1, 7, 7) and the bias (C, ).
    """

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=3, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grads = [None, None, None]
        for index in (0, 1):
            if ctx.needs_input_grad[index]:
                grads[index] = torch.ops.aten.convolution_backward(
                    grad, x, weight, None, [1, 1], [3, 3], [1, 1], False, [0, 0], len(weight),
                    [index == 0, index == 1, False])[index]
        if ctx.needs_input_grad[2]:
            grads[2] = grad.sum((0, 2, 3))
        return tuple(grads)


class PointwisePair(Function):
    """All of a block behind its norm: two linear layers with GELU, GRN, layer scale, residual.

    Computes ``shortcut + factor * gamma * linear2(grn(gelu(linear1(x))))``.

    Args:
        x, shortcut (Tensor): (N, H, W, C).
        weight1, bias1 (Tensor): (4C, C) and (4C, ).
        weight2, bias2 (Tensor): (C, 4C) and (C, ).
        gamma (Tensor | None): layer scale, (C, ).
        grn_gamma, grn_beta (Tensor | None): of GRN, 4C values each; None leaves it out.
        grn_eps (float): of GRN.
        factor (Tensor | None): drop path's factor of each picture, (N, 1, 1, 1).
        keep (bool): a backward pass may follow, so that nothing it needs is overwritten.
    """

    @staticmethod
    def forward(ctx, x, shortcut, weight1, bias1, weight2, bias2, gamma, grn_gamma, grn_beta,
                grn_eps, factor, keep):
        hidden = F.linear(x, weight1, bias1)
        active = F.gelu(hidden) if keep else torch.ops.aten.gelu_(hidden)
        scaled, norm = active, None
        if grn_gamma is not None:
            norm = active.square().sum((1, 2), keepdim=True).sqrt_()
            scale = torch.addcmul(norm.new_ones(()), grn_gamma.flatten(), _relative(norm, grn_eps))
            scaled = active * scale if keep else active.mul_(scale)
        # the bias of GRN goes through the linear layer into its bias
        bias = bias2 if norm is None else torch.addmv(bias2, weight2, grn_beta.flatten())
        branch = F.linear(scaled, weight2, bias)
        ctx.grn_eps = grn_eps
        ctx.save_for_backward(x, hidden, active, norm, weight1, weight2, bias2, gamma, grn_gamma,
                              grn_beta, factor)
        if gamma is None and factor is None:
            return branch.add_(shortcut)
        return torch.addcmul(shortcut, branch, _product(gamma, factor))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (x, hidden, active, norm, weight1, weight2, bias2, gamma, grn_gamma, grn_beta,
         factor) = ctx.saved_tensors
        channels, width = weight2.shape
        grads = [None] * 12
        grads[1] = grad
        branch_grad = grad if factor is None else grad * factor
        rows = branch_grad.reshape(-1, channels)
        bias_grad = rows.sum(0)
        scaled = active
        if norm is not None:
            relative = _relative(norm, ctx.grn_eps)
            scale = torch.addcmul(norm.new_ones(()), grn_gamma.flatten(), relative)
            scaled = active * scale
        weight_grad = rows.T @ scaled.view(-1, width)
        if norm is not None:
            weight_grad.addr_(bias_grad, grn_beta.flatten())
        if gamma is not None:
            # the sum of grad * branch, without the branch
            grads[6] = torch.addcmul((weight_grad * weight2).sum(1), bias_grad, bias2)
            weight_grad.mul_(gamma[:, None])
            bias_grad = bias_grad * gamma
            rows = rows * gamma
        grads[4], grads[5] = weight_grad, bias_grad
        hidden_grad = (rows @ weight2).view_as(hidden)
        if norm is not None:
            grads[8] = (bias_grad @ weight2).view_as(grn_beta)
            scale_grad = torch.mul(hidden_grad, active, out=scaled).sum((1, 2), keepdim=True)
            grads[7] = (scale_grad * relative).sum((0, 1, 2)).view_as(grn_gamma)
            hidden_grad.mul_(scale).addcmul_(active, _norm_grad_over_norm(
                scale_grad * grn_gamma.flatten(), norm, relative, ctx.grn_eps))
        torch.ops.aten.gelu_backward.grad_input(hidden_grad, hidden, grad_input=hidden_grad)
        hidden_grad = hidden_grad.view(-1, width)
        grads[0] = (hidden_grad @ weight1).view_as(x)
        grads[2] = hidden_grad.T @ x.reshape(-1, channels)
        grads[3] = hidden_grad.sum(0)
        return tuple(grads)


def _product(gamma, factor):
    return factor if gamma is None else gamma if factor is None else gamma * factor


def _relative(norm, eps):
    """GRN's response: the norm of each channel (N, 1, 1, K) over the mean channel's."""
    return norm / (norm.mean(-1, keepdim=True) + eps)


def _norm_grad_over_norm(grad, norm, relative, eps):
    """Gradient of the norms, from that of the response, over the norms; 0 where they are 0."""
    mean = norm.mean(-1, keepdim=True) + eps
    through_mean = (grad * relative).mean(-1, keepdim=True)
    return torch.where(norm > 0, (grad - through_mean) / (mean * norm), 0.)
