"""Whether the values of weights can be a trained model's."""
from collections.abc import Mapping

import torch

from convnext_dense.errors import InputError

#: larger weights and statistics do not come from training; damaged exponents give 1e30 and more
LARGEST = 1e10


def check_values(state: Mapping[str, torch.Tensor], source: str) -> None:
    """Refuse weights that are not finite, or of an absurd size.

    Each tensor is read once, in place.

    Raises:
        InputError: the message names the source, the first such tensor, and the value.
    """
    for key, tensor in state.items():
        if not tensor.is_floating_point() or not tensor.numel() or tensor.is_meta:
            continue
        if tensor.element_size() == 1:  # float8 types know no minimum
            tensor = tensor.float()
        least, most = (value.item() for value in torch.aminmax(tensor))
        # a NaN makes both NaN, which no comparison holds for
        if not (-LARGEST <= least and most <= LARGEST):
            worst = least if not -LARGEST <= least else most
            raise InputError(f'{source}: {key} holds the value {worst:.3g}, which no training '
                             'gives; the file is damaged, or its training failed: take another')
