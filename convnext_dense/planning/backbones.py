"""The backbones that ``compare --data`` knows by name, as settings of a config."""
from __future__ import annotations

from difflib import get_close_matches
from typing import Any, NamedTuple

from convnext_dense.checkpoints.zoo import ARCHS
from convnext_dense.errors import InputError

V1_SIZES = ('atto', 'femto', 'pico', 'nano', 't', 's', 'b', 'l', 'xl')
V2_SIZES = ('atto', 'femto', 'pico', 'nano', 't', 'b', 'l', 'h')
#: width of the first stage, blocks, heads; atto is this toolkit's, as small as ConvNeXt V2-Atto
SWINS = {
    'atto': (32, (2, 2, 6, 2), (2, 4, 8, 16)),
    't': (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    's': (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    'b': (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    'l': (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
RESNET_DEPTHS = (18, 34, 50, 101, 152)
#: V1's sizes whose weights its authors published for ImageNet-1k; smaller ones have none
V1_PUBLISHED = ('t', 's', 'b', 'l')


class Backbone(NamedTuple):
    """A backbone.

    Attributes:
        name: as users write it, such as ``convnext-t``.
        settings: of the config's ``backbone``, from nothing.
        weights: what its authors published for ImageNet-1k; None where there is nothing.
    """
    name: str
    settings: dict[str, Any]
    weights: str | None

    @property
    def channels(self) -> tuple[int, ...]:
        """Of its four outputs."""
        if 'arch' in self.settings:
            from convnext_dense.models.architectures import resolve_arch
            return resolve_arch(self.settings['arch'])[1]
        first = self.settings.get('embed_dims') or (
            64 if self.settings['depth'] < 50 else 256)
        return tuple(first * 2**stage for stage in range(4))

    def starting_from(self, weights: str | None, drop_path_rate: float) -> dict[str, Any]:
        """Its settings in a config.

        Args:
            weights: a name, path or URL; None starts from nothing.
            drop_path_rate: of those that drop paths; a ResNet has none.
        """
        settings = dict(self.settings)
        if 'depth' not in settings:
            settings['drop_path_rate'] = drop_path_rate
        if weights:
            settings['init_cfg'] = dict(type='convnext_dense.Pretrained', checkpoint=weights)
            if 'depth' in settings:  # few images a step: published statistics serve better
                settings['norm_eval'] = True
        return settings


def backbones() -> dict[str, Backbone]:
    """All of them by name."""
    found = [_convnext('convnext', size, dict(layer_scale_init_value=1.), V1_PUBLISHED)
             for size in V1_SIZES]
    found += [_convnext('convnextv2', size, dict(use_grn=True, layer_scale_init_value=0.), V2_SIZES)
              for size in V2_SIZES]
    found += [Backbone(f'swin-{size}', dict(
        type='convnext_dense.SwinTransformer', embed_dims=width, depths=depths, num_heads=heads,
        window_size=7), f'swin-{ARCHS[size]}_in1k' if size in ('t', 's', 'b') else None)
        for size, (width, depths, heads) in SWINS.items()]
    found += [Backbone(f'resnet-{depth}', dict(
        type='ResNet', depth=depth, norm_cfg=dict(type='BN', requires_grad=True), norm_eval=False,
        style='pytorch'), f'torchvision://resnet{depth}') for depth in RESNET_DEPTHS]
    return {backbone.name: backbone for backbone in found}


def backbone_named(name: str, option: str = '--models') -> Backbone:
    """One of :func:`backbones`; ``convnext-tiny`` is ``convnext-t``.

    Args:
        name: of it.
        option: that gave the name, for the message.

    Raises:
        InputError: there is none of this name.
    """
    known = backbones()
    letters = {long: short for short, long in dict(ARCHS, h='huge').items()}
    family, _, size = name.lower().partition('-')
    short = f'{family}-{letters.get(size, size)}'
    if short not in known:
        near = get_close_matches(short, known, n=3)
        families: dict[str, list[str]] = {}
        for each in known:
            families.setdefault(each.partition('-')[0], []).append(each.partition('-')[2])
        hint = f'did you mean {" or ".join(near)}? ' if near else ''
        listed = ', '.join(f'{family}-{{{",".join(sizes)}}}' for family, sizes in families.items())
        raise InputError(f'{option} {name}: there is no such backbone; {hint}known are {listed}')
    return known[short]


def _convnext(family, size, settings, published):
    arch = dict(ARCHS, h='huge').get(size, size)
    return Backbone(f'{family}-{size}', dict(type='convnext_dense.ConvNeXt', arch=arch, **settings),
                    f'{family}-{arch}_in1k' if size in published else None)
