"""Which layer group a parameter belongs to, from its name alone.

The rule of the official ConvNeXt recipes (arXiv 2201.03545, appendix A.3), written once for any
depth: group 0 is the stem; three consecutive blocks make a group; a downsampling layer joins the
first group of the stage it leads to; neck, heads and output norms come last. Swin and ResNet are
grouped the same way, so that a comparison can use one recipe.
"""
import re
from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from convnext_dense.errors import InputError

BLOCKS_PER_GROUP = 3


class Family(NamedTuple):
    """How a family of backbones names its parts.

    ``first_stage`` is the number of its first stage; ``downsample_shift`` says which stage a
    downsampling layer leads to, counted from the stage in its name.
    """
    stem: str
    downsample: str
    block: str
    first_stage: int = 0
    downsample_shift: int = 0


FAMILIES = {
    'convnext': Family(stem=r'downsample_layers\.0\.',
                       downsample=r'downsample_layers\.(\d+)\.',
                       block=r'stages\.(\d+)\.(\d+)\.'),
    'swin': Family(stem=r'patch_embed\.|absolute_pos_embed$',
                   downsample=r'stages\.(\d+)\.downsample\.',
                   block=r'stages\.(\d+)\.blocks\.(\d+)\.',
                   downsample_shift=1),
    # the projection of a ResNet's first block is part of that block
    'resnet': Family(stem=r'conv1\.|bn1\.|stem\.',
                     downsample=r'layer(\d+)\.0\.downsample\.',
                     block=r'layer(\d+)\.(\d+)\.',
                     first_stage=1),
}


def needed_layers(depths: Sequence[int]) -> int:
    """The ``num_layers`` that fits ``depths``: 6 for (3, 3, 9, 3), 12 for (3, 3, 27, 3)."""
    return sum(ceil(depth / BLOCKS_PER_GROUP) for depth in depths)


def check_num_layers(num_layers: int | None, depths: Sequence[int]) -> int:
    """``num_layers``, or the derived one for None.

    Raises:
        InputError: it is smaller than the depths need, which would give the last blocks of the
            backbone a higher learning rate than the heads.
    """
    needed = needed_layers(depths)
    if num_layers is None:
        return needed
    if num_layers < needed:
        raise InputError(f'paramwise_cfg: num_layers={num_layers} is too small for a backbone of '
                         f'depths {list(depths)}; use {needed}, or leave it out')
    return num_layers


def layer_group(name: str, family: str, depths: Sequence[int], num_layers: int,
                decay_type: str = 'layer_wise') -> int:
    """Group of a backbone parameter, from 0 (the stem) to ``num_layers + 1`` (the heads).

    Args:
        name (str): the parameter's name inside the backbone, without ``backbone.``.
        family (str): a key of ``FAMILIES``.
        depths (Sequence[int]): blocks of each stage.
        num_layers (int): at least ``needed_layers(depths)``.
        decay_type (str): ``layer_wise`` (COCO recipes) or ``stage_wise`` (ADE20K recipes).

    Returns:
        int: the group; output norms and whatever else is no stem, stage or downsampling get the
        heads' group.
    """
    parts = FAMILIES[family]
    heads = num_layers + 1
    if re.match(parts.stem, name):
        return 0
    if match := re.match(parts.downsample, name):
        stage = int(match[1]) - parts.first_stage + parts.downsample_shift
        if decay_type == 'stage_wise':
            return 0
        block = 0
    elif match := re.match(parts.block, name):
        stage, block = int(match[1]) - parts.first_stage, int(match[2])
    else:
        return heads
    if decay_type == 'stage_wise':
        return stage + 1
    last = len(depths) - 1
    # the last stage ends at num_layers also where num_layers leaves room before it
    start = num_layers + 1 - ceil(depths[last] / BLOCKS_PER_GROUP) if stage == last else \
        1 + needed_layers(depths[:stage])
    return start + block // BLOCKS_PER_GROUP


def layer_scale(group: int, num_layers: int, decay_rate: float) -> float:
    """Factor on the learning rate of a group: 1 for the heads, falling towards the stem."""
    return decay_rate**(num_layers + 1 - group)


def has_weight_decay(name: str, ndim: int) -> bool:
    """Whether the published recipes decay a parameter.

    Args:
        name (str): its full name.
        ndim (int): its number of dimensions. Norms, biases and layer scale have one; GRN's
            gamma and beta have four but scale channels all the same.
    """
    if ndim <= 1 or name.endswith('.bias'):
        return False
    return not re.search(r'(^|\.)(grn\.(gamma|beta)|relative_position_bias_table|'
                         r'absolute_pos_embed)$', name)
