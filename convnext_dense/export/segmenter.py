"""A segmenter as one network: from images to logits, or to label maps in any size."""
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.export.layers import describe_images, first_layer, pad_to_multiple

OUTPUTS = ('labels', 'logits')


class SegmenterNetwork(nn.Module):
    """What mmseg's ``EncoderDecoder`` computes of images, without data samples.

    With ``output='labels'`` it takes ``images`` (N, 3, H, W) and ``size`` (int64, two values:
    height and width of the label maps) and gives ``labels``, (N, *size): uint8, or with more than
    256 classes int32. With ``output='logits'`` it takes ``images`` and gives ``logits``
    (N, classes, h, w), in the size that the head has them.

    Args:
        model (nn.Module): of mmseg, in evaluation mode.
        output (str): ``labels`` or ``logits``.
        normalise (bool): ``images`` are uint8 in BGR order, which are normalised inside.

    Raises:
        InputError: the model computes its label maps in a way that this does not know.
    """

    def __init__(self, model: Any, output: str, normalise: bool):
        super().__init__()
        _check(model, output)
        self.model, self.output = model, output
        self.normalise = first_layer(model, normalise)
        self.divisor = _padding(model).get('size_divisor') or 1 if output == 'labels' else 1
        self.classes = max(model.decode_head.out_channels, 2)
        self.label_type = 'uint8' if self.classes <= 256 else 'int32'

    def forward(self, images: Tensor, size: Tensor | None = None) -> Tensor:
        images = self.normalise(images)
        if self.output == 'logits':
            return self.logits(images)
        height, width = images.shape[2:]
        images = pad_to_multiple(images, self.divisor)
        corners = self.model.align_corners
        logits = F.interpolate(self.logits(images), images.shape[2:], mode='bilinear',
                               align_corners=corners)[:, :, :height, :width]
        rows, columns = size.tolist()  # type: ignore[union-attr]
        for side in (rows, columns):
            torch._check(side >= 1)
            torch._check(side <= 2**16)
        logits = F.interpolate(logits, (rows, columns), mode='bilinear', align_corners=corners)
        return logits.argmax(1).to(getattr(torch, self.label_type))

    def logits(self, images: Tensor) -> Tensor:
        """Logits of normalised images; a single class gets its threshold as a rival."""
        head = self.model.decode_head
        logits = head.forward(self.model.extract_feat(images))
        if head.out_channels > 1:
            return logits
        threshold = torch.logit(torch.tensor(float(head.threshold)))
        return torch.cat([torch.full_like(logits, float(threshold)), logits], 1)


def _padding(model):
    return getattr(model.data_preprocessor, 'test_cfg', None) or {}


def default_output(model: Any) -> str:
    """``labels``, or for a model that looks in windows ``logits``."""
    test_cfg = model.test_cfg or {}
    return 'logits' if test_cfg.get('mode', 'whole') == 'slide' else 'labels'


def _check(model, output):
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead
    from mmseg.models.segmentors import EncoderDecoder
    if output not in OUTPUTS:
        raise InputError(f'output {output!r}: give one of {", ".join(OUTPUTS)}')
    kind = type(model)
    if not isinstance(model, EncoderDecoder) or isinstance(model.decode_head, nn.ModuleList):
        raise InputError(f'{kind.__name__}: segmenters are exported where they are an '
                         'EncoderDecoder with one decode head')
    head = model.decode_head
    if any(getattr(type(head), name) is not getattr(BaseDecodeHead, name)
           for name in ('predict', 'predict_by_feat')):
        raise InputError(f'{type(head).__name__} makes its label maps in a way of its own, not '
                         'from one logit a class; it is not exported')
    if output == 'labels' and default_output(model) == 'logits':
        raise InputError("test_cfg has mode='slide': windows are joined outside of the network; "
                         'export with --output logits, or set mode=\'whole\' in the config')
    if output == 'labels' and _padding(model).get('size'):
        raise InputError('data_preprocessor.test_cfg pads images to a fixed size, outside of the '
                         'network; export with --output logits')


def describe(network: SegmenterNetwork) -> dict:
    """What a card says of the network: ``inputs``, ``outputs`` and ``network``.

    Args:
        network (SegmenterNetwork): that is exported.
    """
    model = network.model
    least = 4 * 2**max(getattr(model.backbone, 'out_indices', [3]))
    inputs = [describe_images(network)]
    if network.output == 'labels':
        inputs.append(dict(name='size', type='int64', shape=[2],
                           meaning='height and width of the label maps in pixels'))
        outputs = [dict(name='labels', type=network.label_type,
                        shape=['batch', 'size[0]', 'size[1]'],
                        meaning='index of the class of each pixel')]
    else:
        outputs = [dict(name='logits', type='float32',
                        shape=['batch', network.classes, 'height/4', 'width/4'],
                        meaning='logits of the classes, in the size of the head; the largest one '
                        'after bilinear resizing is the class of a pixel')]
    return dict(inputs=inputs, outputs=outputs, network=dict(
        output=network.output, least_side=least,
        test_cfg=dict(model.test_cfg or {}), align_corners=bool(model.align_corners)))
