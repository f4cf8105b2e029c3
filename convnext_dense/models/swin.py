"""Swin Transformer as OpenMMLab builds it, with its weights read safely."""
from typing import Any

from mmdet.models.backbones import SwinTransformer as MMDetSwinTransformer
from mmengine.model import initialize

from convnext_dense.registry import MODELS


@MODELS.register_module()
class SwinTransformer(MMDetSwinTransformer):
    """``mmdet.SwinTransformer``, whose own loader unpickles anything; the arguments are the same.

    ``init_cfg=dict(type='Pretrained', checkpoint=...)`` takes the official weights and OpenMMLab's;
    which of the two is seen from the keys, so ``convert_weights`` has no effect. What lies behind
    the last output gets no gradient, and is there to load published weights: distributed training
    stops at parameters that expect one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        last = max(self.out_indices)
        behind = [self.stages[last].downsample, *self.stages[last + 1:]]
        for module in behind:
            if module is not None:
                module.requires_grad_(False)

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says."""
        if self.init_cfg is None:
            super().init_weights()
        else:
            initialize(self, dict(self.init_cfg, type='convnext_dense.Pretrained'))
