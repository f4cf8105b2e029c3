"""mmseg's Mask2Former head, a child of mmdet's, with the same losses in fewer maps."""
from mmseg.models.decode_heads import Mask2FormerHead as MMSegMask2FormerHead

from convnext_dense.detection.mask2former_head import FewerMaps
from convnext_dense.registry import MODELS


@MODELS.register_module()
class SegMask2FormerHead(FewerMaps, MMSegMask2FormerHead):
    """``mmseg.Mask2FormerHead`` with the same arguments, losses and label maps."""
