"""The layers that ConvNeXt adds to torch's: a channels-first LayerNorm and GRN."""
import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from torch import nn

from convnext_dense.acceleration import triton as ops


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of a feature map of shape (N, C, H, W).

    In plain torch the map is seen as (N, H, W, C), which costs no copy when it lies channels-last;
    the kernel reads either layout. ``ops`` chooses, see :class:`ConvNeXt`.
    """

    ops = 'auto'

    def forward(self, x):
        if self.bias is not None and ops.wanted(self.ops, x):
            return ops.module.layer_norm(x, self.weight, self.bias, self.eps)
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GRN(nn.Module):
    """Global response normalisation of ConvNeXt V2 (arXiv 2301.00808, section 3.2).

    Args:
        channels (int): channels of the input.
        eps (float): added to the mean of the norms.

    Input and output have the shape (N, H, W, C); ``gamma`` and ``beta`` have (1, 1, 1, C).
    """

    def __init__(self, channels, eps=1e-6):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.eps = eps

    def response(self, x):
        """Norm of each channel over the map, relative to the mean channel: (N, 1, 1, C)."""
        norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        return norm / (norm.mean(dim=-1, keepdim=True) + self.eps)

    def forward(self, x):
        return torch.addcmul(self.beta, self.gamma * self.response(x) + 1, x)


def build_norm2d(norm_cfg, channels):
    """The norm layer that ``norm_cfg`` names, for maps of shape (N, C, H, W).

    ``LN2d`` (OpenMMLab's name) and ``LN`` give :class:`LayerNorm2d`; any other type is mmcv's.
    """
    cfg = dict(norm_cfg)
    if cfg['type'] in ('LN2d', 'LN'):
        cfg.pop('type')
        requires_grad = cfg.pop('requires_grad', True)
        return LayerNorm2d(channels, **cfg).requires_grad_(requires_grad)
    return build_norm_layer(cfg, channels)[1]


def layer_norm_last(x, norm):
    """Apply a :class:`LayerNorm2d` to a map that is seen as (N, H, W, C) already."""
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def sum_of_squares(rows):
    """Of each column: (pixels, C) to (C), by batch norm's statistics.

    They need no map of squares, which costs twice the time; vector_norm takes six times as long.
    """
    mean, var = torch.batch_norm_update_stats(rows.T[None, ..., None], None, None, 0.)
    return var.addcmul_(mean, mean).mul_(len(rows))


def sums_of_squares(wide):
    """Of each image and channel: (N, pixels, K) to (N, 1, K)."""
    if wide.shape[1] < wide.shape[2] // 4:  # few pixels: the map of squares stays in the cache
        return wide.square().sum(1, keepdim=True)
    return torch.stack([sum_of_squares(rows) for rows in wide])[:, None]


def computed_by_hand(x):
    """Whether gradients written by hand are for maps ``x``: eager float32 on a CPU."""
    return not torch.compiler.is_compiling() and not torch.jit.is_tracing() and \
        x.device.type == 'cpu' and x.dtype == torch.float32 and x.numel() > 0 and \
        not torch.is_autocast_enabled('cpu')
