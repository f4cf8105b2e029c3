"""Swin Transformer as OpenMMLab builds it, with its weights read safely."""
from functools import cache

from convnext_dense.registry import MODELS


@MODELS.register_module(name='SwinTransformer')
def build_swin(**kwargs):
    """``type='convnext_dense.SwinTransformer'``: mmdet's Swin, whose own loader unpickles anything.

    The arguments are mmdet's. ``init_cfg=dict(type='Pretrained', checkpoint=...)`` takes the
    official weights and OpenMMLab's; which of the two is seen from the keys, so
    ``convert_weights`` has no effect.

    Returns:
        mmdet.models.backbones.SwinTransformer
    """
    return _swin_class()(**kwargs)


@cache
def _swin_class():
    from mmdet.models.backbones import SwinTransformer as MMDetSwin  # takes seconds
    from mmengine.model import initialize

    class SwinTransformer(MMDetSwin):

        def init_weights(self):
            if self.init_cfg is None:
                super().init_weights()
            else:
                initialize(self, dict(self.init_cfg, type='convnext_dense.Pretrained'))

    return SwinTransformer
