"""The published weights by name.

>>> from convnext_dense.checkpoints import zoo
>>> zoo.entry('cascade-mask-rcnn_convnext-t_coco').reaches
{'box_ap': 50.4, 'mask_ap': 43.7}
"""
import hashlib
import urllib.parse
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import NamedTuple

from convnext_dense.checkpoints.zoo_heads import head_files
from convnext_dense.download import hash_in_name
from convnext_dense.errors import InputError

CONVNEXT = 'https://dl.fbaipublicfiles.com/convnext/'
SWIN = 'https://github.com/SwinTransformer/storage/releases/download/'
NON_COMMERCIAL = 'CC-BY-NC-4.0'
FAIR_LICENCE = 'FAIR Noncommercial Research License'
DINOV3_LICENCE = 'DINOv3 License'
DINOV3_PAGE = 'https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/'
EUPE = 'https://huggingface.co/facebook/EUPE-ConvNeXt-{0}/resolve/main/EUPE-ConvNeXt-{0}.pt'
TIMM = 'https://huggingface.co/timm/{}/resolve/main/model.safetensors'
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CLIP_MEAN, CLIP_STD = (122.771, 116.746, 104.094), (68.501, 66.632, 70.323)
FIGURES = ('box_ap', 'mask_ap', 'miou', 'miou_ms', 'pq')
ARCHS = dict(t='tiny', s='small', b='base', l='large', xl='xlarge')


class Entry(NamedTuple):
    """One published file.

    Attributes:
        name (str): what ``init_cfg``, ``load_from`` and the commands take.
        url (str): where it is published.
        licence (str): of the weights.
        reaches (dict): published figures: AP and mIoU in percent; empty for backbones.
        config (str | None): the config that it fits, below ``configs/``; None for backbones.
        mean, std (tuple): of the pixels that it was trained on, values 0 to 255, RGB.
        by_hand (str): for files that nobody may fetch without accepting a licence: where to do
            that. ``url`` is the file's name then.
    """
    name: str
    url: str
    licence: str = 'MIT'
    reaches: dict = {}
    config: str | None = None
    mean: tuple = IMAGENET_MEAN
    std: tuple = IMAGENET_STD
    by_hand: str = ''


def _backbones():
    for arch in ARCHS.values():
        name, file = f'convnext-{arch}', f'{CONVNEXT}convnext_{arch}'
        ema = '_ema' if arch == 'xlarge' else ''
        if arch != 'xlarge':
            yield Entry(f'{name}_in1k', f'{file}_1k_224_ema.pth')
        if arch in ('base', 'large'):
            yield Entry(f'{name}_in1k-384', f'{file}_1k_384.pth')
        yield Entry(f'{name}_in22k', f'{file}_22k_224.pth')
        yield Entry(f'{name}_in22k-in1k', f'{file}_22k_1k_224{ema}.pth')
        yield Entry(f'{name}_in22k-in1k-384', f'{file}_22k_1k_384{ema}.pth')
    for arch in ('atto', 'femto', 'pico', 'nano', 'tiny', 'base', 'large', 'huge'):
        name, file = f'convnextv2-{arch}', f'convnextv2_{arch}'
        yield Entry(f'{name}_fcmae', f'{CONVNEXT}convnextv2/pt_only/{file}_1k_224_fcmae.pt',
                    NON_COMMERCIAL)
        yield Entry(f'{name}_in1k', f'{CONVNEXT}convnextv2/im1k/{file}_1k_224_ema.pt',
                    NON_COMMERCIAL)
        sizes = dict(nano=(224, 384), tiny=(224, 384), base=(224, 384), large=(224, 384),
                     huge=(384, 512)).get(arch, ())
        for size in sizes:
            yield Entry(f'{name}_in22k-in1k' + (f'-{size}' if size > 224 else ''),
                        f'{CONVNEXT}convnextv2/im22k/{file}_22k_{size}_ema.pt', NON_COMMERCIAL)
    for arch in ('tiny', 'small', 'base'):
        yield Entry(f'swin-{arch}_in1k', f'{SWIN}v1.0.0/swin_{arch}_patch4_window7_224.pth')
    for arch in ('base', 'large'):
        yield Entry(f'swin-{arch}_in22k', f'{SWIN}v1.0.0/swin_{arch}_patch4_window7_224_22k.pth')
        yield Entry(f'swin-{arch}_in22k-384',
                    f'{SWIN}v1.0.0/swin_{arch}_patch4_window12_384_22k.pth')
    yield Entry('swin-base_in1k-384', f'{SWIN}v1.0.0/swin_base_patch4_window12_384.pth')
    yield Entry('swin-large_in22k-in1k',
                f'{SWIN}v1.0.0/swin_large_patch4_window7_224_22kto1k.pth')


def _foundation():
    """Distilled (DINOv3, EUPE), trained with text (OpenCLIP), and on ImageNet-12K (timm)."""
    for arch, digest in dict(tiny='21b726bb', small='296db49d', base='801f2ba9',
                             large='61fa432d').items():
        yield Entry(f'convnext-{arch}_dinov3',
                    f'dinov3_convnext_{arch}_pretrain_lvd1689m-{digest}.pth', DINOV3_LICENCE,
                    by_hand=DINOV3_PAGE)
    for arch in ('tiny', 'small', 'base'):
        yield Entry(f'convnext-{arch}_eupe', EUPE.format(arch[0].upper()), FAIR_LICENCE)
    for arch, name in dict(base='convnext_base.clip_laion2b_augreg',
                           large='convnext_large_mlp.clip_laion2b_augreg',
                           xxlarge='convnext_xxlarge.clip_laion2b_soup').items():
        yield Entry(f'convnext-{arch}_clip-laion2b', TIMM.format(name), 'Apache-2.0',
                    mean=CLIP_MEAN, std=CLIP_STD)
    yield Entry('convnext-base_clip-laion2b-in12k',
                TIMM.format('convnext_base.clip_laion2b_augreg_ft_in12k'), 'Apache-2.0',
                mean=CLIP_MEAN, std=CLIP_STD)
    for arch in ('nano', 'tiny', 'small'):
        yield Entry(f'convnext-{arch}_in12k', TIMM.format(f'convnext_{arch}.in12k'), 'Apache-2.0')


def _detectors(rows):
    for size, pretrain in (('t', '1k'), ('s', '1k'), ('b', '1k'), ('b', '22k'), ('l', '22k'),
                           ('xl', '22k')):
        backbone = f'convnext-{size}' + ('-in22k' if pretrain == '22k' else '')
        arch, key = ARCHS[size], f'convnext-{size}_in{pretrain}'
        amp = '' if size in ('l', 'xl') else 'amp-'
        crop = '512x512' if pretrain == '1k' else '640x640'
        if size == 't':
            yield _model(f'mask-rcnn_{backbone}_coco',
                         f'{CONVNEXT}coco/mask_rcnn_convnext_tiny_1k_3x',
                         rows[f'coco/mask-rcnn_{key}'],
                         f'mask_rcnn/mask-rcnn_{backbone}_fpn_amp-ms-crop-3x_coco')
        yield _model(f'cascade-mask-rcnn_{backbone}_coco',
                     f'{CONVNEXT}coco/cascade_mask_rcnn_convnext_{arch}_{pretrain}_3x',
                     rows[f'coco/cascade_{key}'],
                     f'cascade_mask_rcnn/cascade-mask-rcnn_{backbone}_fpn_giou-4conv1fc_'
                     f'{amp}ms-crop-3x_coco')
        yield _model(f'upernet_{backbone}_ade20k',
                     f'{CONVNEXT}ade20k/upernet_convnext_{arch}_{pretrain}_{crop}',
                     rows[f'ade20k/upernet_{key}'],
                     f'upernet/upernet_{backbone}_8xb2-{amp}160k_ade20k-{crop}')
    for size in ('t', 's', 'b'):
        arch, key = ARCHS[size], f'swin-{size}_in1k'
        if size != 'b':
            yield _model(f'mask-rcnn_swin-{size}_coco',
                         f'{SWIN}v1.0.2/mask_rcnn_swin_{arch}_patch4_window7',
                         rows[f'coco/mask-rcnn_{key}'],
                         f'mask_rcnn/mask-rcnn_swin-{size}_fpn_amp-ms-crop-3x_coco')
        yield _model(f'cascade-mask-rcnn_swin-{size}_coco',
                     f'{SWIN}v1.0.2/cascade_mask_rcnn_swin_{arch}_patch4_window7',
                     rows[f'coco/cascade_{key}'],
                     f'cascade_mask_rcnn/cascade-mask-rcnn_swin-{size}_fpn_giou-4conv1fc_'
                     'amp-ms-crop-3x_coco')
        yield _model(f'upernet_swin-{size}_ade20k',
                     f'{SWIN}v1.0.1/upernet_swin_{arch}_patch4_window7_512x512',
                     rows[f'ade20k/upernet_{key}'],
                     f'upernet/upernet_swin-{size}_8xb2-160k_ade20k-512x512')


def _todays(rows):
    for name, config, row, url in head_files():
        # what was trained from ConvNeXt V2's weights is bound by their licence
        licence = NON_COMMERCIAL if 'convnextv2' in name else 'Apache-2.0'
        yield _model(name, url.removesuffix('.pth'), rows[row], config, licence)


def _model(name, url, row, config, licence='MIT'):
    reaches = {key: row[key] for key in FIGURES if key in row}
    return Entry(name, f'{url}.pth', licence, reaches, f'{config}.py')


@cache
def entries() -> dict[str, Entry]:
    """Every published file: dict of name and :class:`Entry`."""
    from convnext_dense.published import published_rows
    return {entry.name: entry for entry in (*_backbones(), *_foundation(),
                                              *_detectors(published_rows()),
                                              *_todays(published_rows()))}


def entry(name: str) -> Entry:
    """The published file of that name.

    Raises:
        InputError: there is none; the message names similar ones.
    """
    if name not in entries():
        close = get_close_matches(name, entries(), n=3, cutoff=.5)
        raise InputError(f'{name}: neither a file nor the name of published weights' + (
            f'; similar names: {", ".join(close)}' if close else
            '; convnext_dense.checkpoints.zoo.entries() lists the names'))
    return entries()[name]


def forbids_commerce(licence: str | None) -> bool:
    """Whether a licence of the zoo allows no commercial use."""
    return licence in (NON_COMMERCIAL, FAIR_LICENCE)


def entry_of(source: str) -> Entry | None:
    """The entry that a name, URL or file name means, or None."""
    return next((entry for entry in entries().values()
                 if source in (entry.name, entry.url, cache_name(entry.url))), None)


def cache_name(url: str) -> str:
    """Name of a URL's file in the cache: two URLs never share one.

    Published names, and names that end with the hash of their file, stay as they are.
    """
    path = Path(urllib.parse.urlsplit(url).path)
    known = next((entry for entry in entries().values() if entry.url == url), None)
    if known and path.stem == 'model':  # what Hugging Face calls every model's file
        return known.name + path.suffix
    if known or hash_in_name(path.name) and '?' not in url:
        return path.name
    return f'{path.stem}.{hashlib.sha256(url.encode()).hexdigest()[:8]}{path.suffix}'
