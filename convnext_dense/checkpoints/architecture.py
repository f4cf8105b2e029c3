"""Which architecture a backbone is, from its names and shapes alone; no model is built."""
from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from convnext_dense.checkpoints.formats import recognise

if TYPE_CHECKING:
    from torch import Tensor


def architecture_of(backbone: dict[str, Tensor]) -> dict[str, Any]:
    """Name, depths and widths of a ConvNeXt, Swin or ResNet under official names.

    Returns:
        dict: ``arch`` (such as ``convnextv2-tiny``), ``depths``, ``channels``; empty where unknown.
    """
    found = recognise(backbone)
    return _ARCHITECTURES.get(found and found.format.family or '', lambda backbone: {})(backbone)


def _stages(backbone, name, last):
    """Number of blocks and the length of a vector in each stage."""
    depths: Counter[int] = Counter()
    widths: dict[int, int] = {}
    for key, tensor in backbone.items():
        parts = key.split('.')
        if parts[0] == name and key.endswith(last):
            depths[int(parts[1])] += 1
            widths[int(parts[1])] = tensor.shape[0]
    return tuple(depths[stage] for stage in sorted(depths)), tuple(
        widths[stage] for stage in sorted(widths))


def _convnext(backbone):
    from convnext_dense.models.architectures import ARCHITECTURES
    depths, channels = _stages(backbone, 'stages', '.dwconv.weight')
    size = next((size for size, row in ARCHITECTURES.items() if row['depths'] == depths and
                 row['channels'] == channels), 'custom')
    name = 'convnextv2' if any('.grn.' in key for key in backbone) else 'convnext'
    return dict(arch=f'{name}-{size}', depths=depths, channels=channels)


def _swin(backbone):
    from convnext_dense.published import load_published
    depths = _stages(backbone, 'layers', '.norm1.weight')[0]
    channels = _stages(backbone, 'layers', '.blocks.0.norm1.weight')[1]
    size = next((size for size, row in load_published()['swin_recipes']['arch'].items()
                 if tuple(row['depths']) == depths and row['dim'] == channels[0]), 'custom')
    return dict(arch=f'swin-{size}', depths=depths, channels=channels)


def _resnet(backbone):
    """ResNet, ResNeXt and wide ResNet of torchvision's names, with OpenMMLab's stems."""
    depths = _stages({key.replace('layer', 'layer.', 1): value for key, value in backbone.items()},
                     'layer', '.conv1.weight')[0]
    last = 'conv3' if 'layer1.0.conv3.weight' in backbone else 'conv2'
    names = [f'layer{stage + 1}.0.{last}.weight' for stage in range(len(depths))]
    middle = backbone.get('layer1.0.conv2.weight')
    if middle is None or not all(name in backbone for name in names):  # Res2Net, ResNeSt
        return {}
    channels = tuple(backbone[name].shape[0] for name in names)
    depth = _RESNETS.get((last, depths))
    groups = middle.shape[0] // middle.shape[1]
    width = middle.shape[0] // groups
    stem = '_v1d' if 'layer2.0.downsample.1.weight' in backbone and backbone[
        'layer2.0.downsample.1.weight'].ndim == 4 else '_v1c'
    if depth is None or channels[0] != (256 if last == 'conv3' else 64):
        name = 'resnet-custom'
    elif groups > 1:
        name = f'resnext{depth}_{groups}x{width}d'
    elif width != 64:
        name = f'wide_resnet{depth}_{width // 64}'
    else:
        name = f'resnet{depth}'
    return dict(arch=name + (stem if 'stem.0.weight' in backbone else ''), depths=depths,
                channels=channels)


#: the last convolution of a block, blocks of the stages: depth
_RESNETS = {('conv2', (2, 2, 2, 2)): 18, ('conv2', (3, 4, 6, 3)): 34, ('conv3', (3, 4, 6, 3)): 50,
            ('conv3', (3, 4, 23, 3)): 101, ('conv3', (3, 8, 36, 3)): 152}
_ARCHITECTURES = {'convnext': _convnext, 'swin': _swin, 'resnet': _resnet}
