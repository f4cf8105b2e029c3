"""mmseg's UPerHead without the convolution of maps that were enlarged before.

The head enlarges its coarse maps to the finest one's size and convolves all of them together,
which is two thirds of its work. Enlarging and convolving are linear: the coarse maps can be
multiplied with the nine taps of the filters first, and the products enlarged, shifted and summed
by one small matrix an axis.
"""
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import UPerHead as MMSegUPerHead
from torch import Tensor, nn

from convnext_dense.plain_layers import is_plain
from convnext_dense.private.torch import convolve_as
from convnext_dense.registry import MODELS
from convnext_dense.segmentation.label_map import interpolation


@MODELS.register_module()
class UPerHead(MMSegUPerHead):
    """``mmseg.UPerHead``: same arguments, the same values with fewer operations.

    Maps that are enlarged four times or more are not convolved in full size, but for training on
    a GPU, and where operations are counted on shapes alone.
    """

    def _forward_feature(self, inputs):
        device = inputs[0].device.type
        if device == 'meta' or device != 'cpu' and torch.is_grad_enabled() or \
                not is_plain(self.fpn_bottleneck, ConvModule) or \
                not is_plain(self.fpn_bottleneck.conv) or \
                not isinstance(self.fpn_bottleneck.conv, nn.Conv2d):
            return super()._forward_feature(inputs)
        inputs = self._transform_inputs(inputs)
        level = self.psp_forward(inputs)
        maps = [level]
        for x, lateral, conv in zip(inputs[-2::-1], self.lateral_convs[::-1],
                                    self.fpn_convs[::-1]):
            level = lateral(x) + F.interpolate(level, x.shape[2:], mode='bilinear',
                                               align_corners=self.align_corners)
            maps.insert(0, conv(level))
        y = self._convolve(maps)
        bottleneck = self.fpn_bottleneck
        if bottleneck.with_norm:
            y = bottleneck.norm(y)
        return bottleneck.activate(y) if bottleneck.with_activation else y

    def _convolve(self, maps):
        """The bottleneck's convolution of all maps, the finest first."""
        size = maps[0].shape[2:]
        fine = 1 + sum(size[0] < 4 * x.shape[2] or size[1] < 4 * x.shape[3] for x in maps[1:])
        x = torch.cat([maps[0], *(
            F.interpolate(x, size, mode='bilinear', align_corners=self.align_corners)
            for x in maps[1:fine])], dim=1)
        conv = self.fpn_bottleneck.conv
        weight = conv.weight[:, :fine * self.channels]
        y = convolve_as(conv, x, weight, conv.bias)
        weights = conv.weight.split(self.channels, dim=1)
        for x, weight in zip(maps[fine:], weights[fine:]):
            y += convolve_enlarged(x, weight, size, self.align_corners)
        return y


def convolve_enlarged(x: Tensor, weight: Tensor, size: tuple[int, int], align_corners: bool = False
                      ) -> Tensor:
    """A 3x3 convolution, padded by zeros, of a map that is enlarged first.

    Args:
        x (Tensor): maps of shape (N, C, h, w).
        weight (Tensor): filters of shape (O, C, 3, 3).
        size (tuple[int, int]): height H and width W to which bilinear interpolation enlarges.
        align_corners (bool): see ``F.interpolate``.

    Returns:
        Tensor: shape (N, O, H, W), channels-last in memory.
    """
    images, channels, height, width = x.shape
    rows, columns = (_shifted(interpolation(cells, out, align_corners)).to(x)
                     for cells, out in zip((height, width), size))
    taps = weight.permute(3, 2, 0, 1).reshape(-1, channels)  # column, row and output
    y = F.linear(x.permute(0, 2, 3, 1), taps)
    y = torch.matmul(columns, y.view(images * height, width * 3, -1))
    y = y.view(images, height, size[1], 3, -1).transpose(2, 3)
    y = torch.matmul(rows, y.reshape(images, height * 3, -1))
    return y.view(images, *size, -1).permute(0, 3, 1, 2)


def _shifted(matrix):
    """For each place the weights of the cells at it and both neighbours: (out, cells * 3)."""
    matrix = F.pad(matrix, (0, 0, 1, 1))
    return torch.stack([matrix[:-2], matrix[1:-1], matrix[2:]], dim=2).flatten(1)
