"""Attention in transformers of queries, on a CPU."""
from typing import Any

from mmcv.cnn.bricks.transformer import MultiheadAttention
from torch import Tensor, nn

from convnext_dense.acceleration.forms import Form, give_form
from convnext_dense.plain_layers import in_float32_on_cpu, is_plain


class AttentionWithoutWeights(nn.MultiheadAttention, Form):
    """Attention that gives no weights, which ``scaled_dot_product_attention`` need not keep.

    mmcv's ``MultiheadAttention`` asks torch for the weights and drops them.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor,
                key_padding_mask: Tensor | None = None, need_weights: bool = True,
                *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """See torch; the weights are None where this form computes."""
        plain = is_plain(self) and in_float32_on_cpu(query) and \
            not (self.training and self.dropout)  # whose random numbers would be others
        return super().forward(query, key, value, key_padding_mask, need_weights and not plain,
                               *args, **kwargs)


def drop_weights(model: nn.Module) -> int:
    """Give the attention within mmcv's layers its form.

    Args:
        model (nn.Module): changed in place.

    Returns:
        int: how many have it now.
    """
    layers: list[Any] = [module for module in model.modules()
                         if type(module) is MultiheadAttention]
    return sum(give_form(layer.attn, AttentionWithoutWeights) for layer in layers)
