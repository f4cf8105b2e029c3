"""mmcv's feed-forward networks on a CPU: wide maps in chunks that fit the cache."""
from typing import Any

import torch
from mmcv.cnn.bricks.transformer import FFN
from mmcv.cnn.bricks.wrappers import Linear
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from convnext_dense.acceleration.cpu.linear import linear, linear_add, linear_relu
from convnext_dense.acceleration.forms import Form
from convnext_dense.chunks import chunks
from convnext_dense.plain_layers import in_float32_on_cpu, is_plain


class ChunkedFFN(FFN, Form):
    """``FFN`` of two layers with ReLU and its identity, with gradients written by hand."""

    @staticmethod
    def fits(ffn: FFN) -> bool:
        """Whether all that it does is what this form does."""
        wide, narrow = ffn.layers[0], ffn.layers[1]
        return ffn.num_fcs == 2 and ffn.add_identity and \
            all(is_plain(layer, nn.Linear, Linear) and layer.bias is not None
                for layer in (wide[0], narrow)) and is_plain(wide[1], nn.ReLU) and \
            all(is_plain(layer) for layer in (ffn.layers, wide)) and \
            all(is_plain(layer, nn.Dropout, nn.Identity)
                for layer in (wide[2], ffn.layers[2], ffn.gamma2, ffn.dropout_layer))

    def forward(self, x: Tensor, identity: Tensor | None = None, **kwargs: Tensor) -> Tensor:
        """See mmcv; (..., C) to the same."""
        identity = x if identity is None else identity
        if kwargs or not in_float32_on_cpu(x) or identity.shape != x.shape or not self.fits(self) \
                or self.training and any(
                    layer.p for layer in self.modules() if isinstance(layer, nn.Dropout)):
            return super().forward(x, identity, **kwargs)
        wide, narrow = self.layers[0][0], self.layers[1]
        rows, shortcut = (values.reshape(-1, values.shape[-1]) for values in (x, identity))
        return _FeedForward.apply(rows, shortcut, wide.weight, wide.bias, narrow.weight,
                                  narrow.bias, torch.is_grad_enabled()).view_as(x)


class _FeedForward(Function):
    """``shortcut + linear2(relu(linear1(x)))`` of rows (N, C), through a wide map (N, K).

    With h = relu(x W1' + b1) and y = s + h W2' + b2, and g the gradient of y: that of s is g, of h
    g W2, and of what relu gets the same where h > 0, else 0; call it d. So x gets d W1, W1 d' x,
    b1 the sum of d's rows, W2 g' h and b2 the sum of g's rows.

    Args:
        x, shortcut (Tensor): (N, C).
        weight1, bias1 (Tensor): (K, C) and (K, ).
        weight2, bias2 (Tensor): (C, K) and (C, ).
        keep (bool): the wide map, for a backward pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, shortcut: Tensor, weight1: Tensor, bias1: Tensor,
                weight2: Tensor, bias2: Tensor, keep: bool) -> Tensor:
        keep = keep and any(ctx.needs_input_grad)
        wide = x.new_empty(len(x), len(weight1)) if keep else None
        out = torch.empty_like(x)
        for part in chunks(len(x), len(weight1)):
            hidden = linear_relu(x[part], weight1, bias1)
            out[part] = linear_add(hidden, weight2, bias2, shortcut[part])
            if wide is not None:
                wide[part] = hidden
        ctx.save_for_backward(x, wide, weight1, weight2)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        x, wide, weight1, weight2 = ctx.saved_tensors
        grad = grad.contiguous()
        x_grad = torch.empty_like(x)
        weight1_grad, weight2_grad = torch.zeros_like(weight1), torch.zeros_like(weight2)
        bias1_grad = weight1.new_zeros(len(weight1))
        for part in chunks(len(x), len(weight1)):
            hidden = linear(grad[part], weight2.T)
            torch.ops.aten.threshold_backward.grad_input(hidden, wide[part], 0, grad_input=hidden)
            x_grad[part] = linear(hidden, weight1.T)
            weight1_grad.addmm_(hidden.T, x[part])
            weight2_grad.addmm_(grad[part].T, wide[part])
            bias1_grad += hidden.sum(0)
        return x_grad, grad, weight1_grad, bias1_grad, weight2_grad, grad.sum(0), None
