"""Layers that no format has, written with operators that all formats have."""
from typing import Any

import torch
from mmengine.utils import to_2tuple
from torch import Tensor, nn


class AveragePool(nn.Module):
    """``nn.AdaptiveAvgPool2d`` for maps whose size is not known before they are computed.

    The mean over rows and columns is one matrix an axis.

    Args:
        output_size (int | tuple[int, int]): rows and columns of the output.
    """

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = to_2tuple(output_size)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (_means(size, bins).to(x)
                         for size, bins in zip(x.shape[2:], self.output_size))
        return rows @ x @ columns.T


def _means(size, bins):
    """The matrix (bins, size) of adaptive average pooling along one axis."""
    index, place = torch.arange(bins)[:, None], torch.arange(size)
    # the bounds are those of torch, rounded down and up
    begin = torch.div(index * size, bins, rounding_mode='floor')
    end = torch.div((index + 1) * size + bins - 1, bins, rounding_mode='floor')
    inside = ((place >= begin) & (place < end)).double()
    return inside / inside.sum(1, keepdim=True)


def use_exportable_layers(model: nn.Module) -> None:
    """Put layers that exporters know in the place of those that they do not, in place.

    Values change by rounding only.
    """
    from mmseg.models.decode_heads import UPerHead as MMSegUPerHead

    from convnext_dense.segmentation import UPerHead
    for module in list(model.modules()):
        if type(module) is UPerHead:  # its matrices are made for one size
            module.__class__ = MMSegUPerHead
        for name, child in module.named_children():
            if type(child) is nn.AdaptiveAvgPool2d:
                setattr(module, name, AveragePool(child.output_size))


def pad_to_multiple(images: Tensor, divisor: int) -> Tensor:
    """Images (N, C, H, W) with zeros below and right, up to sides that divide by ``divisor``."""
    if divisor <= 1:
        return images
    height, width = images.shape[2:]
    return nn.functional.pad(images, (0, -width % divisor, 0, -height % divisor))


class Normalise(nn.Module):
    """What a data preprocessor does with the pixels: uint8 in BGR order to normalised floats.

    Args:
        preprocessor (nn.Module): mmdet's ``DetDataPreprocessor`` or mmseg's
            ``SegDataPreProcessor``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessor: Any):
        super().__init__()
        self.swaps = bool(getattr(preprocessor, '_channel_conversion', False))
        self.normalises = bool(getattr(preprocessor, '_enable_normalize', False))
        if self.normalises:
            self.register_buffer('mean', preprocessor.mean)
            self.register_buffer('std', preprocessor.std)

    def forward(self, images: Tensor) -> Tensor:
        if self.swaps:
            images = images.flip(1)
        images = images.float()
        return (images - self.mean) / self.std if self.normalises else images


def first_layer(model: Any, normalise: bool) -> nn.Module:
    """What a network does with its images first: :class:`Normalise`, or nothing.

    Args:
        model (nn.Module): of mmdet or mmseg.
        normalise (bool): ``images`` are uint8 in BGR order.
    """
    return Normalise(model.data_preprocessor) if normalise else nn.Identity()


def describe_images(network: Any) -> dict:
    """The input ``images`` of a network, for the card.

    Args:
        network (nn.Module): its ``normalise`` is that of :func:`first_layer`.
    """
    if isinstance(network.normalise, Normalise):
        kind, meaning = 'uint8', 'images in BGR order, values 0 to 255'
    else:
        swaps = Normalise(network.model.data_preprocessor).swaps
        kind, meaning = 'float32', (f'images in {"RGB" if swaps else "BGR"} order, normalised: '
                                    '(pixels - mean) / std of the preprocessing')
    return dict(name='images', type=kind, shape=['batch', 3, 'height', 'width'], meaning=meaning)
