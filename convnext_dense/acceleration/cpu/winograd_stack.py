"""Winograd's convolutions of the small maps of many RoIs, several layers at a time."""
import math
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from convnext_dense.acceleration.cpu.linear import linear, product, product_relu
from convnext_dense.acceleration.cpu.threads import even_chunks, for_each
from convnext_dense.acceleration.cpu.winograd import (
    POINTS,
    TILE,
    WINDOW,
    WinogradConv2d,
    transform_filters,
    transforms,
)
from convnext_dense.plain_layers import in_float32_on_cpu, is_plain

#: tiles transformed at a time, at most, for a thread: each chunk reads the filters again, some
#: products of a tile have half or a quarter of these rows, and oneDNN wants 100 and more
STACK_CHUNK = 384
#: heads of mmdet, their lists of convolutions that run one after the other on the features of
#: RoIs, and whether their results are flattened
STACKS = dict(ConvFCBBoxHead=dict(shared_convs=True, cls_convs=True, reg_convs=True),
              FCNMaskHead=dict(convs=False))


def stack_convolutions(model: nn.Module) -> int:
    """Put a :class:`WinogradStack` in place of each list of convolutions of RoI heads that fits.

    Args:
        model (nn.Module): changed in place; its state dict has other names afterwards.

    Returns:
        int: how many there are.
    """
    count = 0
    for module in list(model.modules()):
        for base in type(module).__mro__:
            for name, flat in STACKS.get(base.__name__, {}).items():
                if WinogradStack.fits(getattr(module, name)):
                    stack = WinogradStack(getattr(module, name), flat)
                    setattr(module, name, nn.ModuleList([stack]))
                    count += 1
    return count


class AxisTransforms(NamedTuple):
    """Matrices that transform an axis of a map with a border of zeros.

    The last tile is as small as what is left: a side of 7 takes tiles of 4 and 3, whose 11
    products are one less than those of two tiles of 4.

    Attributes:
        to_products (Tensor): products x places; those of all tiles with the same point are
            neighbours.
        from_products (Tensor): places x products.
        tiles (list[int]): how many tiles have a product with each point.
    """
    to_products: torch.Tensor
    from_products: torch.Tensor
    tiles: list


@cache
def axis_transforms(size: int) -> AxisTransforms:
    """The :class:`AxisTransforms` of an axis of so many places."""
    to_products: list[list] = [[] for _ in range(WINDOW)]
    from_products: list[list] = [[] for _ in range(WINDOW)]
    for start in range(0, size, TILE):
        tile = min(TILE, size - start)
        outputs, _, inputs = transforms(tile)
        for point, (row, column) in enumerate(zip(inputs, outputs.T)):
            if column.any():
                after = size - start - tile
                to_products[point].append(F.pad(row, (start, after))[1:-1])
                from_products[point].append(F.pad(column, (start, after)))
    return AxisTransforms(torch.stack(sum(to_products, [])).float(),
                          torch.stack(sum(from_products, []), 1).float(),
                          [len(rows) for rows in to_products])


class WinogradStack(nn.Module):
    """3x3 convolutions with ReLUs, one after the other, on the small maps of many RoIs.

    A chunk of RoIs goes through all of them before the next, as position x RoI x channel, so that
    its maps stay in the cache and every step is a matrix product. Each thread has its own chunks.
    oneDNN's products round more than MKL's: four layers nine times as much as direct ones, not six.

    Args:
        modules (Iterable[mmcv.cnn.ConvModule]): for which :meth:`fits` is true; they are kept and
            compute what is not for this class: large maps, few RoIs, 16 bits, training.
        flat (bool): the result is going to be flattened, so it lies channels-first in memory.
    """
    LARGEST = 4 * TILE

    def __init__(self, modules: Iterable[nn.Module], flat: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(modules)
        self.flat = flat

    @staticmethod
    def fits(modules: Iterable[Any]) -> bool:
        """Whether all modules are plain 3x3 convolutions with ReLU and without another norm."""
        modules = list(modules)
        return len(modules) > 0 and all(
            is_plain(module, ConvModule) and
            is_plain(module.conv, nn.Conv2d, WinogradConv2d) and
            WinogradConv2d.fits(module.conv) and
            isinstance(module.norm, (nn.Identity, type(None))) and module.with_activation and
            is_plain(module.activate, nn.ReLU) and module.order[0] == 'conv' for module in modules)

    def forward(self, x: Tensor) -> Tensor:
        """Maps of shape (K, C, H, W) to (K, O, H, W)."""
        if not 2 <= min(x.shape[2:]) <= max(x.shape[2:]) <= self.LARGEST or len(x) < 8 or \
                torch.is_grad_enabled() or not in_float32_on_cpu(x) or not self.fits(self.layers):
            for module in self.layers:
                x = module(x)
            return x
        convs: list[Any] = [module.conv for module in self.layers]
        layers = [(transform_filters(conv.weight), conv.bias) for conv in convs]
        rois, _, height, width = x.shape
        out = x.new_empty(rois, len(convs[-1].weight), height, width)
        if not self.flat:
            out = out.to(memory_format=torch.channels_last)

        def compute(part):
            y, scratch = x[part].permute(2, 3, 0, 1), _Scratch()
            for filters, bias in layers:
                y = _rectified_outputs(y, filters, bias, scratch)
            out[part] = y.permute(2, 3, 0, 1)

        for_each(compute, even_chunks(
            rois, STACK_CHUNK // (-(-height // TILE) * -(-width // TILE))))
        return out


class _Scratch:
    """Memory for all chunks: malloc gives much of what is freed back to the system.

    Taking it from there again took up to a quarter of the time of a stack.
    """

    def __init__(self):
        self.memory = {}

    def take(self, name, *shape):
        """A tensor of this shape, in the memory of an earlier one of this name if there was one."""
        size = math.prod(shape)
        if name not in self.memory or len(self.memory[name]) < size:
            self.memory[name] = torch.empty(size)
        return self.memory[name][:size].view(shape)


def _rectified_outputs(x, filters, bias, scratch):
    """A convolution, and ReLU, of small maps (H, W, K, C) with transformed filters (36, C, O).

    What is added to the product with point 1 along both axes is added to all outputs: the bias.
    """
    height, width, rois, channels = x.shape
    features = filters.shape[2]
    vertical, horizontal = axis_transforms(height), axis_transforms(width)
    lines = product(vertical.to_products, x.reshape(height, -1)).view(-1, width, rois * channels)
    out = scratch.take('out', len(lines), width, rois * features)
    biases = [None] * WINDOW**2
    biases[POINTS.index(1) * (WINDOW + 1)] = bias
    for line, (tiles, in_lines, out_lines) in enumerate(zip(
            vertical.tiles, lines.split(vertical.tiles), out.split(vertical.tiles))):
        inputs = scratch.take('inputs', sum(horizontal.tiles), tiles, rois * channels)
        for in_line, place in zip(in_lines, inputs.unbind(1)):
            torch.mm(horizontal.to_products, in_line, out=place)
        numbers = [tiles * others * rois for others in horizontal.tiles]
        of_line = slice(line * WINDOW, (line + 1) * WINDOW)
        products = scratch.take('products', len(inputs), tiles, rois * features)
        torch.cat([linear(part, filter.T, bias) for part, filter, bias in zip(
            inputs.view(-1, channels).split(numbers), filters[of_line], biases[of_line])],
            out=products.view(-1, features))
        for place, out_line in zip(products.unbind(1), out_lines):
            torch.mm(horizontal.from_products, place, out=out_line)
    return product_relu(vertical.from_products, out.view(len(lines), -1)).view(
        height, width, rois, features)
