"""What follows the norm in a block, with gradients written by hand: fewer passes over wide maps."""
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from convnext_dense.acceleration.cpu.linear import linear, linear_add, linear_gelu
from convnext_dense.acceleration.cpu.sums import sums_of_squares
from convnext_dense.chunks import chunks_of_images


class PointwisePair(Function):
    """All of a block after its norm: two linear layers with GELU, GRN, layer scale, residual.

    Computes ``shortcut + factor * gamma * linear2(grn(gelu(linear1(x))))``. GRN multiplies each
    wide map with a factor an image and channel; where a map has more pixels than the block has
    channels, the factors go into a copy of the second layer's weights for each image instead.

    The gradients, with a = gelu(linear1(x)), n the norm of each channel of a, r = n / m its
    response, m = mean(n) + eps, g = a (grn_gamma r + 1) + grn_beta, G that of the output x factor:
    gamma's is sum(G branch) = rowsum(weight2 * sum(G' g)) + bias2 sum(G), without the branch;
    r's is dr = grn_gamma sum(dg a) with dg = gamma G weight2; n's is dn = (dr - mean(dr r)) / m;
    a's is dg (grn_gamma r + 1) + a dn / n.

    Args:
        x, shortcut (Tensor): (N, H, W, C).
        weight1, bias1 (Tensor): (4C, C) and (4C, ).
        weight2, bias2 (Tensor): (C, 4C) and (C, ).
        gamma (Tensor | None): layer scale, (C, ).
        grn_gamma, grn_beta (Tensor | None): of GRN, 4C values each; None leaves it out.
        grn_eps (float): of GRN.
        factor (Tensor | None): drop path's factor of each image, (N, 1, 1, 1).
        keep (bool): a backward pass may follow, so that nothing it needs is overwritten.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, shortcut: torch.Tensor, weight1: torch.Tensor,
                bias1: torch.Tensor, weight2: torch.Tensor, bias2: torch.Tensor,
                gamma: torch.Tensor | None, grn_gamma: torch.Tensor | None,
                grn_beta: torch.Tensor | None, grn_eps: float, factor: torch.Tensor | None,
                keep: bool) -> torch.Tensor:
        if keep:
            hidden = linear(x.flatten(1, 2), weight1, bias1)
            active = F.gelu(hidden)
        else:
            hidden = active = linear_gelu(x.flatten(1, 2), weight1, bias1)
        weight, bias, scaled, factors, norm = weight2, bias2, active, _product(gamma, factor), None
        if grn_gamma is not None and grn_beta is not None:
            norm = sums_of_squares(active).sqrt_()
            scale = torch.addcmul(norm.new_ones(()), grn_gamma.flatten(), _relative(norm, grn_eps))
            # the bias of GRN goes through the linear layer into its bias
            bias = torch.addmv(bias2, weight2, grn_beta.flatten())
            if _many_pixels(x):
                weight = weight2 * scale
            else:
                scaled = active * scale if keep else active.mul_(scale)
        if gamma is not None and _many_pixels(x):
            weight, bias, factors = weight * gamma[:, None], bias * gamma, factor
        ctx.grn_eps = grn_eps
        ctx.save_for_backward(x, hidden, active, norm, weight1, weight2, bias2, gamma, grn_gamma,
                              grn_beta, factor)
        shortcut = shortcut.contiguous()
        if factors is None:
            return _narrow(scaled, weight, bias, shortcut.flatten(1, 2)).view_as(x)
        return torch.addcmul(shortcut, _narrow(scaled, weight, bias).view_as(x), factors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x, hidden, active, norm, weight1, weight2, bias2, gamma, grn_gamma, grn_beta,
         factor) = ctx.saved_tensors
        grads: list[torch.Tensor | None] = [None] * 12
        grads[1] = grad
        rows = (grad if factor is None else grad * factor).flatten(1, 2)
        branch_rows = rows if gamma is None else rows * gamma
        bias_grad = rows.sum((0, 1))
        weight, hidden_grad, norm_grad = weight2, None, None
        if norm is None:
            weight_grad = _weight_grad(rows, active)
        else:
            relative = _relative(norm, ctx.grn_eps)
            scale = torch.addcmul(norm.new_ones(()), grn_gamma.flatten(), relative)
            if _many_pixels(x):
                products = rows.transpose(1, 2) @ active
                narrow = weight2 if gamma is None else weight2 * gamma[:, None]
                scale_grad = (products * narrow).sum(1, keepdim=True)
                weight_grad = products.mul_(scale).sum(0)
                weight = weight2 * scale
            else:
                scaled = active * scale
                weight_grad = _weight_grad(rows, scaled)
                hidden_grad = linear(branch_rows, weight2.T)
                scale_grad = torch.mul(hidden_grad, active, out=scaled).sum(1, keepdim=True)
                hidden_grad.mul_(scale)
            weight_grad.addr_(bias_grad, grn_beta.flatten())
            grads[7] = (scale_grad * relative).sum((0, 1)).view_as(grn_gamma)
            norm_grad = _norm_grad_over_norm(
                scale_grad * grn_gamma.flatten(), norm, relative, ctx.grn_eps)
        if gamma is not None:
            # the sum of grad * branch, without the branch
            grads[6] = torch.addcmul((weight_grad * weight2).sum(1), bias_grad, bias2)
            weight_grad.mul_(gamma[:, None])
            bias_grad = bias_grad * gamma
        grads[4], grads[5] = weight_grad, bias_grad
        if norm is not None:
            grads[8] = (bias_grad @ weight2).view_as(grn_beta)
        if hidden_grad is not None and norm_grad is not None:
            hidden_grad.addcmul_(active, norm_grad)
            norm_grad = None
        x_grad, grads[2], grads[3] = _widening_grads(
            x.flatten(1, 2), hidden, active, weight1, branch_rows, weight, norm_grad, hidden_grad)
        grads[0] = x_grad.view_as(x)
        return tuple(grads)


def _widening_grads(x, hidden, active, weight1, rows, weight2, norm_grad, hidden_grad=None):
    """Gradients of the first layer's input, weights and bias.

    Args:
        x, hidden, active (Tensor): (N, pixels, C) and twice (N, pixels, 4C).
        weight1 (Tensor): (4C, C).
        rows (Tensor): the gradient of the second layer's output, (N, pixels, C).
        weight2 (Tensor): its weights, (C, 4C) or (N, C, 4C).
        norm_grad (Tensor | None): what ``active`` adds to its gradient through its norm, an
            image and channel, (N, 1, 4C).
        hidden_grad (Tensor | None): the gradient of ``active`` in place of rows, weight2 and
            norm_grad; it is overwritten.
    """
    if weight2.ndim == 2:  # the same for all images
        x, hidden, active, rows = (
            maps.reshape(1, -1, maps.shape[2]) for maps in (x, hidden, active, rows))
        weight2 = weight2[None]
        hidden_grad = hidden_grad if hidden_grad is None else hidden_grad.view_as(hidden)
    x_grad, weight_grad = torch.empty_like(x), torch.zeros_like(weight1)
    bias_grad = weight1.new_zeros(len(weight1))
    for part in chunks_of_images(*hidden.shape):
        if hidden_grad is None:
            wide = torch.empty_like(hidden[part])
            for out, image, weight in zip(wide, rows[part], weight2[part[0]]):
                out.copy_(linear(image, weight.T))
        else:
            wide = hidden_grad[part]
        if norm_grad is not None:
            wide.addcmul_(active[part], norm_grad[part[0]])
        torch.ops.aten.gelu_backward.grad_input(wide, hidden[part], grad_input=wide)
        x_grad[part] = linear(wide, weight1.T)
        wide = wide.flatten(0, 1)
        weight_grad.addmm_(wide.T, x[part].flatten(0, 1))
        bias_grad += wide.sum(0)
    return x_grad, weight_grad, bias_grad


def _product(gamma, factor):
    return factor if gamma is None else gamma if factor is None else gamma * factor


def _weight_grad(grad, x):
    """Of a linear layer (N, pixels, C) to (N, pixels, O): the gradient (O, C) of its weights."""
    return grad.flatten(0, 1).T @ x.flatten(0, 1)


def _narrow(wide, weight, bias, shortcut=None):
    """The second layer of (N, pixels, 4C), with weights (C, 4C) or (N, C, 4C), plus a shortcut."""
    if weight.ndim == 3:
        start = bias.expand(*wide.shape[:2], -1).contiguous() if shortcut is None else \
            shortcut + bias
        return start.baddbmm_(wide, weight.transpose(1, 2))
    if shortcut is None:
        return linear(wide, weight, bias)
    return linear_add(wide.flatten(0, 1), weight, bias, shortcut.flatten(0, 1))


def _many_pixels(x):
    """Whether a map (N, H, W, C) has more pixels than channels."""
    return x.shape[1] * x.shape[2] > x.shape[3]


def _relative(norm, eps):
    """GRN's response: the norm of each channel (N, 1, K) over the mean channel's."""
    return norm / (norm.mean(-1, keepdim=True) + eps)


def _norm_grad_over_norm(grad, norm, relative, eps):
    """Gradient of the norms, from that of the response, over the norms; 0 where they are 0."""
    mean = norm.mean(-1, keepdim=True) + eps
    through_mean = (grad * relative).mean(-1, keepdim=True)
    return torch.where(norm > 0, (grad - through_mean) / (mean * norm), 0.)
