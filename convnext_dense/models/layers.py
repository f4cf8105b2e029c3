"""The layers that ConvNeXt adds to torch's: a channels-first LayerNorm, GRN, pointwise layers."""
import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of a feature map of shape (N, C, H, W).

    The map is seen as (N, H, W, C), which costs no copy when it lies channels-last.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GRN(nn.Module):
    """Global response normalisation of ConvNeXt V2 (arXiv 2301.00808, section 3.2).

    Args:
        channels (int): channels of the input.
        eps (float): added to the mean of the norms.

    Input and output have the shape (N, H, W, C); ``gamma`` and ``beta`` have (1, 1, 1, C).
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.eps = eps

    def response(self, x: Tensor) -> Tensor:
        """Norm of each channel over the map, relative to the mean channel: (N, 1, 1, C)."""
        norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        return norm / (norm.mean(dim=-1, keepdim=True) + self.eps)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.beta, self.gamma * self.response(x) + 1, x)


class PointwiseConv2d(nn.Conv2d):
    """A linear layer of maps (N, H, W, C) whose parameters are those of a 1x1 convolution.

    Args:
        in_channels, out_channels (int): of the maps; the weight has the shape (out, in, 1, 1).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def build_norm2d(norm_cfg: dict, channels: int) -> nn.Module:
    """The norm layer that ``norm_cfg`` names, for maps of shape (N, C, H, W).

    ``LN2d`` (OpenMMLab's name) and ``LN`` give :class:`LayerNorm2d`; any other type is mmcv's.
    """
    cfg = dict(norm_cfg)
    if cfg['type'] in ('LN2d', 'LN', LayerNorm2d):
        cfg.pop('type')
        requires_grad = cfg.pop('requires_grad', True)
        return LayerNorm2d(channels, **cfg).requires_grad_(requires_grad)
    return build_norm_layer(cfg, channels)[1]
