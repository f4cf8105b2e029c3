"""``init_cfg=dict(type='convnext_dense.Pretrained', checkpoint=...)``."""
from collections.abc import Sequence

import torch
from torch import nn

from convnext_dense.checkpoints.loading import load_weights
from convnext_dense.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class Pretrained:
    """``init_cfg=dict(type='Pretrained', checkpoint=...)`` that reads every format, safely.

    Args: as for :func:`load_weights`; ``checkpoint`` is its source.
    """

    def __init__(self, checkpoint: str, prefix: str | None = None,
                 map_location: str | torch.device = 'cpu', allow: Sequence[str] = ()) -> None:
        self.checkpoint = checkpoint
        self.prefix = prefix
        self.map_location = map_location
        self.allow = allow

    def __call__(self, module: nn.Module) -> None:
        load_weights(module, self.checkpoint, self.prefix, self.map_location, self.allow)
        if hasattr(module, '_params_init_info'):
            from mmengine.model.weight_init import update_init_info
            update_init_info(module, init_info=f'Pretrained: load from {self.checkpoint}')
