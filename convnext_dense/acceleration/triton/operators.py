"""The kernels as torch operators ``torch.ops.convnext_dense.*``, and functions that call them.

The operators have gradients, fake forms for ``torch.compile`` and meta tensors, and choose their
plan by measurement. The functions follow autocast: maps are cast to its type, parameters stay as
they are, and a map comes out in the type that it went in with.

Longer than 300 lines: an operator is its computation, its gradient and its shapes, which are read
together.
"""
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from convnext_dense.acceleration.triton import activation, depthwise, norm, plans, residual
from convnext_dense.acceleration.triton.tiles import sum_dtype
from convnext_dense.acceleration.triton.tuning import choose


def _operator(name: str) -> Callable[[Callable], Any]:
    """Decorator: a torch operator whose kernels are launched where its first tensor is, whichever
    GPU is the current one.

    In eager mode it costs the host 22 us a call (55 with gradients), as an autograd function does.
    """
    def decorate(run: Callable) -> Any:
        @wraps(run)
        def on_its_device(x: Tensor, *args: Any) -> Any:
            with torch.cuda.device_of(x):
                return run(x, *args)
        return custom_op(f'convnext_dense::{name}', on_its_device, mutates_args=())
    return decorate


# -- depthwise convolution and LayerNorm ---------------------------------------------------------


def dwconv_norm(x: Tensor, weight: Tensor, bias: Tensor | None, norm_weight: Tensor,
                norm_bias: Tensor, eps: float) -> Tensor:
    """Depthwise 7x7 convolution, bias, and LayerNorm over the channels.

    Args:
        x (Tensor): maps (N, C, H, W), any strides; channels-last ones are not copied.
        weight (Tensor): (C, 1, 7, 7).
        bias (Tensor | None): (C, ).
        norm_weight, norm_bias (Tensor): (C, ).
        eps (float): added to the variance.

    Returns:
        Tensor: (N, H, W, C), contiguous.
    """
    x, = _follow_autocast(x)
    tensors = (x, weight, bias, norm_weight, norm_bias)
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    with _without_autocast(x):
        return _dwconv_norm(*tensors, eps, keep)[0]


@_operator('dwconv_norm')
def _dwconv_norm(x: Tensor, weight: Tensor, bias: Tensor | None, norm_weight: Tensor,
                 norm_bias: Tensor, eps: float, keep: bool
                 ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = _channels_together(x)
    taps = depthwise.taps_of(weight, x)

    def run(plan):
        if plan.how == 'fused':
            return depthwise.convolve(x, taps, bias, plan.tile, (norm_weight, norm_bias), eps, keep)
        if plan.how == 'split':
            z, = depthwise.convolve(x, taps, bias, plan.tile)
            z = z.permute(0, 3, 1, 2)
        else:
            z = _native_convolution(x, weight, bias)
        y, mean, rstd = _normalise(z, norm_weight, norm_bias, eps)
        return y.permute(0, 2, 3, 1), z.permute(0, 2, 3, 1), mean, rstd

    plan = _choose('dwconv_norm', x, lambda: plans.dwconv_norm(x.shape[1]), run)
    y, *kept = run(plan)
    return (y, *kept) if keep else (y, *_nothing(x))


@_dwconv_norm.register_fake
def _(x, weight, bias, norm_weight, norm_bias, eps, keep):
    images, channels, height, width = x.shape
    y = x.new_empty(images, height, width, channels)
    if not keep:
        return y, *_nothing(x)
    return y, torch.empty_like(y), *(y.new_empty(y.shape[:3], dtype=sum_dtype(x))
                                     for _ in range(2))


def _keep_dwconv_norm(ctx, inputs, output):
    x, weight, bias, norm_weight, _, _, _ = inputs
    ctx.save_for_backward(x, weight, norm_weight, *output[1:])
    ctx.biased = bias is not None


def _differentiate_dwconv_norm(ctx, grad, *_):
    saved = ctx.saved_tensors  # read once: a checkpointed block computes them at that moment
    _, weight, norm_weight, *_ = saved
    wants_x, wants_weight, *_ = ctx.needs_input_grad
    dx, dweight, sums = _dwconv_norm_backward(grad, *saved, wants_x, wants_weight)
    dnorm_weight, dnorm_bias = sums[:2].to(norm_weight.dtype)
    return (dx if wants_x else None, dweight if wants_weight else None,
            sums[2].to(weight.dtype) if ctx.biased else None, dnorm_weight, dnorm_bias, None, None)


_dwconv_norm.register_autograd(_differentiate_dwconv_norm, setup_context=_keep_dwconv_norm)


@_operator('dwconv_norm_backward')
def _dwconv_norm_backward(grad: Tensor, x: Tensor, weight: Tensor, norm_weight: Tensor, z: Tensor,
                          mean: Tensor, rstd: Tensor, wants_x: bool, wants_weight: bool
                          ) -> tuple[Tensor, Tensor, Tensor]:
    x = _channels_together(x)
    dz, sums = _gradient_of_norm(
        grad.contiguous().permute(0, 3, 1, 2), z.permute(0, 3, 1, 2), mean, rstd, norm_weight)
    dx = _gradient_of_input(dz, x, weight) if wants_x else x.new_empty(0)
    dweight = _gradient_of_filters(dz, x, weight) if wants_weight else x.new_empty(0)
    return dx, dweight.to(weight.dtype), sums


@_dwconv_norm_backward.register_fake
def _(grad, x, weight, norm_weight, z, mean, rstd, wants_x, wants_weight):
    images, channels, height, width = x.shape
    dx = x.new_empty(images, height, width, channels).permute(0, 3, 1, 2)
    return (dx if wants_x else x.new_empty(0),
            weight.new_empty(weight.shape) if wants_weight else weight.new_empty(0),
            x.new_empty(3, channels, dtype=sum_dtype(x)))


def _gradient_of_input(dz, x, weight):
    def run(plan):
        if plan.how == 'native':
            return _native_gradient(dz, x, weight, 0)
        taps = depthwise.taps_of(weight, x, flipped=True)
        return depthwise.convolve(dz, taps, None, plan.tile)[0].permute(0, 3, 1, 2)

    return run(_choose('dwconv_input', dz, lambda: plans.convolution(dz.shape[1]), run))


def _gradient_of_filters(dz, x, weight):
    def run(plan):
        if plan.how == 'native':
            return _native_gradient(dz, x, weight, 1)
        return depthwise.weight_gradient(x, dz.permute(0, 2, 3, 1), plan.tile)

    return run(_choose('dwconv_weight', x, lambda: plans.weight_gradient(x.shape[1]), run))


def _native_convolution(x, weight, bias):
    z = F.conv2d(x, weight.to(x.dtype), bias if bias is None else bias.to(x.dtype), padding=3,
                 groups=x.shape[1])
    return z.contiguous(memory_format=torch.channels_last)


def _native_gradient(dz, x, weight, index):
    """Gradient of the input (index 0) or the filters (1) of the convolution, by torch."""
    grads = torch.ops.aten.convolution_backward(
        dz, x, weight.to(x.dtype), None, [1, 1], [3, 3], [1, 1], False, [0, 0], x.shape[1],
        [index == 0, index == 1, False])
    return grads[index].contiguous(memory_format=torch.channels_last) if index == 0 else \
        grads[index].contiguous()


# -- LayerNorm -----------------------------------------------------------------------------------


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """LayerNorm over the channels of maps (N, C, H, W), in their own memory order."""
    x, = _follow_autocast(x)
    with _without_autocast(x):
        return _layer_norm(x, weight, bias, eps)[0]


@_operator('layer_norm')
def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float
                ) -> tuple[Tensor, Tensor, Tensor]:
    return _normalise(_dense(x), weight, bias, eps)


@_layer_norm.register_fake
def _(x, weight, bias, eps):
    images, _, height, width = x.shape
    return torch.empty_like(_dense(x)), *(
        x.new_empty(images, height, width, dtype=sum_dtype(x)) for _ in range(2))


def _keep_layer_norm(ctx, inputs, output):
    x, weight, _, _ = inputs
    ctx.save_for_backward(x, *output[1:], weight)


def _differentiate_layer_norm(ctx, grad, *_):
    x, mean, rstd, weight = ctx.saved_tensors
    dx, sums = _layer_norm_backward(grad, x, mean, rstd, weight)
    return dx, *sums[:2].to(weight.dtype), None


_layer_norm.register_autograd(_differentiate_layer_norm, setup_context=_keep_layer_norm)


@_operator('layer_norm_backward')
def _layer_norm_backward(grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor
                         ) -> tuple[Tensor, Tensor]:
    return _gradient_of_norm(_dense(grad), _dense(x), mean, rstd, weight)


@_layer_norm_backward.register_fake
def _(grad, x, mean, rstd, weight):
    return torch.empty_like(_dense(x)), x.new_empty(3, x.shape[1], dtype=sum_dtype(x))


def _normalise(x, weight, bias, eps):
    def run(plan):
        return norm.normalise(x, weight, bias, eps, plan.tile)

    return run(_choose('norm', x, lambda: plans.norm(x.shape[1], _channels_last(x)), run))


def _gradient_of_norm(grad, x, mean, rstd, weight):
    def run(plan):
        return norm.gradient(grad, x, mean, rstd, weight, plan.tile)

    return run(_choose('norm_backward', x, lambda: plans.norm(x.shape[1], _channels_last(x)), run))


# -- GELU, GRN and the pointwise layer after them ------------------------------------------------


def activated_linear(x: Tensor, weight: Tensor, bias: Tensor | None, gamma: Tensor | None = None,
                     beta: Tensor | None = None, eps: float = 0.) -> Tensor:
    """Exact GELU, global response normalisation (arXiv 2301.00808) if asked, and a linear layer.

    The layer's input is computed again in the backward pass instead of being kept.

    Args:
        x (Tensor): maps (N, H, W, C).
        weight (Tensor): of the layer, (out, C) or (out, C, 1, 1).
        bias (Tensor): (out, ).
        gamma, beta (Tensor, optional): of GRN: C values each, in any shape.
        eps (float): added to the mean of GRN's norms.

    Returns:
        Tensor: (N, H, W, out).
    """
    x, = _follow_autocast(x)
    if gamma is not None and beta is not None:
        gamma, beta = gamma.flatten(), beta.flatten()
    with _without_autocast(x):
        return _activated_linear(x, weight.flatten(1), bias, gamma, beta, eps)[0]


@_operator('activated_linear')
def _activated_linear(x: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor | None,
                      beta: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    x = x.contiguous()
    y, norms = F.gelu(x), x.new_empty(0)

    if gamma is not None and beta is not None:
        def run(plan, gamma=gamma, beta=beta):
            return activation.gelu_grn(x, gamma, beta, eps, plan.tile)
        y, norms = run(_choose_last('gelu_grn', x, run))
    return F.linear(y, weight.to(x.dtype), bias.to(x.dtype)), norms


@_activated_linear.register_fake
def _(x, weight, bias, gamma, beta, eps):
    norms = x.new_empty(0) if gamma is None else \
        x.new_empty(x.shape[0], x.shape[3], dtype=sum_dtype(x))
    return x.new_empty(*x.shape[:3], weight.shape[0]), norms


def _keep_activated_linear(ctx, inputs, output):
    x, weight, _, gamma, beta, ctx.eps = inputs
    ctx.save_for_backward(x, weight, output[1], gamma, beta)


def _differentiate_activated_linear(ctx, grad, _):
    saved = ctx.saved_tensors
    dx, dweight, dbias, *of_grn = _activated_linear_backward(grad, *saved, ctx.eps)
    return dx, dweight, dbias, *((None, None) if saved[3] is None else of_grn), None


_activated_linear.register_autograd(_differentiate_activated_linear,
                                    setup_context=_keep_activated_linear)


@_operator('activated_linear_backward')
def _activated_linear_backward(grad: Tensor, x: Tensor, weight: Tensor, norms: Tensor,
                               gamma: Tensor | None, beta: Tensor | None, eps: float
                               ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    grad, x = grad.contiguous(), x.contiguous()
    of_y = (grad.flatten(0, 2) @ weight.to(grad.dtype)).view(x.shape)

    def run(plan):
        if gamma is None or beta is None:
            return activation.gelu_gradient(of_y, x, plan.tile)
        return activation.gelu_grn_gradient(of_y, x, norms, gamma, beta, eps, plan.tile)

    step = 'gelu_backward' if gamma is None else 'gelu_grn_backward'
    dx, *of_grn, y = run(_choose_last(step, x, run))
    of_grn = [x.new_empty(0), x.new_empty(0)] if gamma is None else [
        value.to(gamma.dtype) for value in of_grn]
    rows = grad.flatten(0, 2)
    return (dx, (rows.t() @ y.flatten(0, 2)).to(weight.dtype),
            rows.sum(0, dtype=sum_dtype(x)).to(weight.dtype), *of_grn)


@_activated_linear_backward.register_fake
def _(grad, x, weight, norms, gamma, beta, eps):
    of_grn = [x.new_empty(0)] * 2 if gamma is None else [gamma, beta]
    return (x.new_empty(x.shape), torch.empty_like(weight), weight.new_empty(weight.shape[0]),
            *(torch.empty_like(value) for value in of_grn))


# -- layer scale, drop path and residual sum -----------------------------------------------------


def scaled_residual(x: Tensor, branch: Tensor, gamma: Tensor | None = None,
                    factor: Tensor | None = None) -> Tensor:
    """x + branch * gamma * factor in one pass.

    Args:
        x (Tensor): maps (N, C, H, W).
        branch (Tensor): maps (N, H, W, C).
        gamma (Tensor, optional): layer scale, (C, ).
        factor (Tensor, optional): drop path, (N, ): 0 for a dropped image, else 1 / (1 - rate).

    Returns:
        Tensor: (N, C, H, W), channels-last in memory.
    """
    x, branch = _follow_autocast(x, branch)
    with _without_autocast(x):
        return _scaled_residual(x.permute(0, 2, 3, 1), branch, gamma, factor).permute(0, 3, 1, 2)


@_operator('scaled_residual')
def _scaled_residual(x: Tensor, branch: Tensor, gamma: Tensor | None, factor: Tensor | None
                     ) -> Tensor:
    x, branch = x.contiguous(), branch.contiguous()

    def run(plan):
        return residual.add(x, branch, gamma, factor, plan.tile)

    return run(_choose_last('residual', x, run))


@_scaled_residual.register_fake
def _(x, branch, gamma, factor):
    return x.new_empty(x.shape)


def _keep_scaled_residual(ctx, inputs, output):
    _, branch, gamma, factor = inputs
    ctx.has_gamma = gamma is not None
    # without a layer scale the branch itself is not needed again
    ctx.shape, ctx.dtype = branch.shape, branch.dtype
    ctx.save_for_backward(branch if ctx.has_gamma else None, gamma, factor)


def _differentiate_scaled_residual(ctx, grad):
    branch, gamma, factor = ctx.saved_tensors
    if branch is None:
        dbranch = grad.to(ctx.dtype) if factor is None else _scaled_residual_backward(
            grad, grad.to(ctx.dtype), None, factor)[0]
        return grad, dbranch, None, None
    dbranch, dgamma = _scaled_residual_backward(grad, branch, gamma, factor)
    return grad, dbranch, dgamma, None


_scaled_residual.register_autograd(_differentiate_scaled_residual,
                                   setup_context=_keep_scaled_residual)


@_operator('scaled_residual_backward')
def _scaled_residual_backward(grad: Tensor, branch: Tensor, gamma: Tensor | None,
                              factor: Tensor | None) -> tuple[Tensor, Tensor]:
    grad, branch = grad.contiguous(), branch.contiguous()

    def run(plan):
        return residual.gradient(grad, branch, gamma, factor, plan.tile)

    dbranch, dgamma = run(_choose_last('residual_backward', grad, run))
    return dbranch, dgamma if gamma is None else dgamma.to(gamma.dtype)


@_scaled_residual_backward.register_fake
def _(grad, branch, gamma, factor):
    dgamma = branch.new_empty(branch.shape[3], dtype=sum_dtype(branch)) if gamma is None else \
        torch.empty_like(gamma)
    return branch.new_empty(branch.shape), dgamma


# -- what they share -----------------------------------------------------------------------------


def _choose(step, x, ways, run):
    """The plan for a map; torch's own where offsets inside a row of ours would not fit 32 bits."""
    if step.startswith('dwconv') and x.shape[3] * max(x.stride(3), x.shape[1]) >= 2**31:
        return plans.NATIVE
    return choose(step, x, ways, run)


def _choose_last(step, x, run):
    """The plan of an elementwise step for a map (N, H, W, C)."""
    return choose(step, x.permute(0, 3, 1, 2), lambda: plans.elementwise(x.shape[3]), run)


def _follow_autocast(*maps):
    kind = maps[0].device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        return tuple(x.to(dtype) if x.dtype != torch.float64 else x for x in maps)
    return maps


def _without_autocast(x):
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else \
        nullcontext()


def _channels_together(x):
    """Maps whose channels lie next to each other: ``x`` itself, or a copy."""
    return x if x.stride(1) == 1 else x.contiguous(memory_format=torch.channels_last)


def _channels_last(x):
    return x.stride(1) == 1


def _dense(x):
    """Maps in either memory order without holes: ``x`` itself, or a channels-last copy."""
    if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous(memory_format=torch.channels_last)


def _nothing(x):
    return tuple(x.new_empty(0) for _ in range(3))
