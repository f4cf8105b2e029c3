"""The RoI extractor of mmdet's heads in one pass over the pyramid."""
from collections.abc import Sequence

import torch
from mmcv import ops
from mmengine.model import BaseModule
from torch import Tensor, nn

from convnext_dense.detection.roi_align import RoIAlign, roi_align_levels
from convnext_dense.errors import InputError
from convnext_dense.registry import MODELS


@MODELS.register_module()
class SingleRoIExtractor(BaseModule):
    """``mmdet.SingleRoIExtractor`` with this package's RoIAlign: same arguments, same values.

    Each RoI is taken from one level of the pyramid, chosen by its size as FPN (arXiv 1612.03144,
    equation 1) says, and written to its place in the output at once.

    Args:
        roi_layer (dict): ``dict(type='RoIAlign', ...)`` with the arguments of :class:`RoIAlign`.
        out_channels (int): channels of the maps.
        featmap_strides (Sequence[int]): strides of the levels in pixels.
        finest_scale (int): RoIs whose geometric mean side is below twice this, in pixels, are
            taken from level 0; each doubling is one level more.
        init_cfg (dict | None): OpenMMLab's initialisation; there is nothing to initialise.

    Raises:
        InputError: a ``roi_layer`` of another type.
    """

    def __init__(self, roi_layer: dict, out_channels: int, featmap_strides: Sequence[int],
                 finest_scale: int = 56, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        layer = dict(roi_layer)
        if layer.pop('type') not in ('RoIAlign', 'convnext_dense.RoIAlign', RoIAlign,
                                     ops.RoIAlign):
            raise InputError(f"SingleRoIExtractor: roi_layer type {roi_layer['type']!r}; this one "
                             "computes RoIAlign only, use type='mmdet.SingleRoIExtractor'")
        self.roi_layers = nn.ModuleList(
            RoIAlign(spatial_scale=1 / stride, **layer) for stride in featmap_strides)
        self.out_channels = out_channels
        self.featmap_strides = featmap_strides
        self.finest_scale = finest_scale

    @property
    def num_inputs(self) -> int:
        """int: number of levels."""
        return len(self.featmap_strides)

    def map_roi_levels(self, rois: Tensor, num_levels: int) -> Tensor:
        """Level of each RoI.

        Args:
            rois (Tensor): shape (K, 5): image index, then x1, y1, x2, y2 in pixels.
            num_levels (int): levels there are.

        Returns:
            Tensor: int64, shape (K,), from 0 to ``num_levels - 1``.
        """
        side = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
        levels = torch.floor(torch.log2(side / self.finest_scale + 1e-6))
        return levels.clamp(min=0, max=num_levels - 1).long()

    def forward(self, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None
                ) -> Tensor:
        """Features of the RoIs.

        Args:
            feats (Sequence[Tensor]): maps of shape (N, out_channels, H, W), finest first.
            rois (Tensor): shape (K, 5): image index, then x1, y1, x2, y2 in pixels.
            roi_scale_factor (float | None): enlarges each RoI about its centre after its level
                has been chosen.

        Returns:
            Tensor: shape (K, out_channels, height, width) in bins.
        """
        # coordinates of images do not fit 16 bits
        rois = rois.to(torch.promote_types(feats[0].dtype, torch.float32))
        levels = self.map_roi_levels(rois, len(feats))
        if roi_scale_factor is not None:
            centres = (rois[:, 1:3] + rois[:, 3:]) / 2
            halves = (rois[:, 3:] - rois[:, 1:3]) * (roi_scale_factor / 2)
            rois = torch.cat([rois[:, :1], centres - halves, centres + halves], dim=1)
        return roi_align_levels(feats, rois, self.roi_layers, levels)
