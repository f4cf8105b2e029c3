"""Published files of today's heads: config, row of the figures, and where the file is."""
from collections.abc import Iterator

DETREX = 'https://github.com/IDEA-Research/detrex-storage/releases/download/'
MMDET = 'https://download.openmmlab.com/mmdetection/v3.0/'
MMSEG = 'https://mmassets.onedl.ai/mmsegmentation/v0.5/mask2former/'
RTMDET = ('https://github.com/orange0-jp/orange-weights/releases/download/'
          'v0.1.0rtmdet-swin-convnext/')
ARCHS = dict(t='tiny', s='small', b='base', l='large')


def head_files() -> Iterator[tuple[str, str, str, str]]:
    """Name, config below ``configs/`` without suffix, row of published.yaml, and URL."""
    for config, row, url in (*_dino(), *_mask2former(), *_others()):
        head, backbone, *_, data = config.rpartition('/')[2].split('_')
        yield f'{head}_{backbone}_{data.partition("-5")[0].partition("-6")[0]}', config, row, url


def _dino():
    for size, arch in ARCHS.items():
        for suffix, pretrain, file in (('', 'in1k-384', '1k'),
                                       ('-in22k', 'in22k-in1k-384', '384')):
            yield (f'dino/dino-4scale_convnext-{size}{suffix}_8xb2-12e_coco',
                   f'dino/dino-4scale_convnext-{size}_{pretrain}',
                   f'{DETREX}v0.4.0/dino_convnext_{arch}_{file}_4scale_12ep.pth')
    for size, pretrain in (('t', 'in1k'), ('l', 'in22k-in1k')):
        suffix = '-in22k' if size == 'l' else ''
        yield (f'dino/dino-4scale_swin-{size}{suffix}_8xb2-12e_coco',
               f'dino/dino-4scale_swin-{size}_{pretrain}',
               f'{DETREX}v0.1.1/dino_swin_{ARCHS[size]}_224_4scale_12ep.pth')
    for config, row, name, stamp in (
            ('dino-5scale_swin-l-in22k', 'dino-5scale_swin-l_in22k', 'dino-5scale_swin-l',
             '20230228_072924-a654145f'),
            ('dino-4scale_r50', 'dino-4scale_r50_in1k', 'dino-4scale_r50',
             '20221202_182705-55b2bba2')):
        yield (f'dino/{config}_8xb2-12e_coco', f'dino/{row}',
               f'{MMDET}dino/{name}_8xb2-12e_coco/{name}_8xb2-12e_coco_{stamp}.pth')


def _mask2former():
    for backbone, theirs, pretrain, crop, stamp in (
            ('r50', 'r50', 'in1k', 512, '20221204_000055-2d1f55f1'),
            ('swin-t', 'swin-t', 'in1k', 512, '20221203_234230-7d64e5dd'),
            ('swin-s', 'swin-s', 'in1k', 512, '20221204_143905-e715144e'),
            ('swin-b', 'swin-b-in1k-384x384-pre', 'in1k-384', 640, '20221129_125118-a4a086d2'),
            ('swin-b-in22k', 'swin-b-in22k-384x384-pre', 'in22k-384', 640,
             '20221203_235230-7ec0f569'),
            ('swin-l-in22k', 'swin-l-in22k-384x384-pre', 'in22k-384', 640,
             '20221203_235933-7120c214')):
        name = f'mask2former_{theirs}_8xb2-160k_ade20k-{crop}x{crop}'
        yield (f'mask2former/mask2former_{backbone}_8xb2-160k_ade20k-{crop}x{crop}',
               f'mask2former_ade20k/mask2former_{backbone.removesuffix("-in22k")}_{pretrain}',
               f'{MMSEG}{name}/{name}_{stamp}.pth')
    for backbone, theirs, task, table, stamp in (
            ('r50', 'r50', '', 'coco', '20220506_191028-41b088b6'),
            ('swin-t', 'swin-t-p4-w7-224', '', 'coco', '20220508_091649-01b0f990'),
            ('swin-s', 'swin-s-p4-w7-224', '', 'coco', '20220504_001756-c9d0c4f2'),
            ('r50', 'r50', '-panoptic', 'panoptic', '20230118_125535-54df384a'),
            ('swin-t', 'swin-t-p4-w7-224', '-panoptic', 'panoptic', '20220326_224553-3ec9e0ae'),
            ('swin-s', 'swin-s-p4-w7-224', '-panoptic', 'panoptic', '20220329_225200-4a16ded7')):
        name = f'mask2former_{theirs}_8xb2-lsj-50e_coco{task}'
        yield (f'mask2former/mask2former_{backbone}_8xb2-lsj-50e_coco{task}',
               f'mask2former_{table}/mask2former_{backbone}_in1k',
               f'{MMDET}mask2former/{name}/{name}_{stamp}.pth')


def _others():
    yield ('rtmdet/rtmdet-l_convnext-b-in22k_4xb32-100e_coco',
           'rtmdet/rtmdet-l_convnext-b_in22k-in1k-384',
           f'{RTMDET}rtmdet_l_convnext_b_4xb32-100e_coco-d4731b3d.pth')
    yield ('rtmdet/rtmdet-l_swin-b-in22k_4xb32-100e_coco', 'rtmdet/rtmdet-l_swin-b_in22k-384',
           f'{RTMDET}rtmdet_l_swin_b_4xb32-100e_coco-0828ce5d.pth')
    name = 'mask-rcnn_convnext-v2-b_fpn_lsj-3x-fcmae_coco'
    yield ('mask_rcnn/mask-rcnn_convnextv2-b_fpn_amp-lsj-3x_coco',
           'v2_dense/mask-rcnn_convnextv2-b_fcmae',
           'https://mmassets.onedl.ai/mmdetection/v3.0/convnextv2/'
           f'{name}/{name}_20230113_110947-757ee2dd.pth')
