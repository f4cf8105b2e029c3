"""Swin Transformer as OpenMMLab builds it, with its weights read safely."""
from mmdet.models.backbones import SwinTransformer as MMDetSwinTransformer
from mmengine.model import initialize

from convnext_dense.registry import MODELS


@MODELS.register_module()
class SwinTransformer(MMDetSwinTransformer):
    """``mmdet.SwinTransformer``, whose own loader unpickles anything; the arguments are the same.

    ``init_cfg=dict(type='Pretrained', checkpoint=...)`` takes the official weights and OpenMMLab's;
    which of the two is seen from the keys, so ``convert_weights`` has no effect.
    """

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says."""
        if self.init_cfg is None:
            super().init_weights()
        else:
            initialize(self, dict(self.init_cfg, type='convnext_dense.Pretrained'))
