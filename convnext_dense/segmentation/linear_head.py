"""A linear layer on frozen features, as DINOv3's release probes them on ADE20K."""
from typing import Any

from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from convnext_dense.registry import MODELS


@MODELS.register_module()
class LinearHead(BaseDecodeHead):
    """Dropout of channels, a norm and a 1x1 convolution; nothing else.

    Args:
        in_channels (int | Sequence[int]): of the maps; several are enlarged to the first one's
            size and stacked.
        in_index (int | Sequence[int]): which of the backbone's outputs.
        norm_cfg (dict): of the norm.
        kwargs: see mmseg's ``BaseDecodeHead``.
    """

    def __init__(self, in_channels: int | list[int], in_index: int | list[int] = -1,
                 norm_cfg: dict = dict(type='SyncBN'), **kwargs: Any) -> None:
        several = isinstance(in_channels, (list, tuple))
        channels = sum(in_channels) if isinstance(in_channels, (list, tuple)) else in_channels
        super().__init__(in_channels, channels=channels, in_index=in_index, norm_cfg=norm_cfg,
                         input_transform='resize_concat' if several else None, **kwargs)
        self.norm = build_norm_layer(norm_cfg, channels)[1]

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits (N, classes, H, W) of a backbone's maps, in the size of the first one taken."""
        x = self._transform_inputs(inputs)
        if self.dropout is not None:
            x = self.dropout(x)
        return self.conv_seg(self.norm(x))
