"""Tiny data sets on disk, in COCO's and in ADE20K's layout, and configs that name them."""
import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from tiny_data import CLASSES, coco_content, noise_image

LOOPS = dict(train_cfg=dict(by_epoch=False, max_iters=90), val_cfg={}, test_cfg={},
             optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)))


@pytest.fixture
def coco(tmp_path):
    """A data set in COCO's layout: ``root``, ``cfg``, and ``write(split, content)``."""
    root = tmp_path / 'coco'
    contents = dict(train=coco_content(), val=coco_content(2, first=10))

    def write(split, content):
        (root / 'annotations').mkdir(parents=True, exist_ok=True)
        (root / 'annotations' / f'{split}.json').write_text(json.dumps(content))

    for split, content in contents.items():
        write(split, content)
        (root / split).mkdir()
        for image in content['images']:
            noise_image(image['id']).save(root / split / image['file_name'])
    model = Config.fromfile('configs/_base_/models/cascade-mask-rcnn_fpn-64.py').model
    model.backbone = dict(type='convnext_dense.ConvNeXt', arch='atto', out_indices=(0, 1, 2, 3))
    model.neck.in_channels = [40, 80, 160, 320]
    for head in (*model.roi_head.bbox_head, model.roi_head.mask_head):
        head.num_classes = 2
    cfg = Config(dict(
        default_scope='mmdet', work_dir=str(tmp_path / 'work'), model=model,
        val_evaluator=dict(type='CocoMetric', ann_file=f'{root}/annotations/val.json')))
    for split, extra in (('train', dict(filter_cfg=dict(filter_empty_gt=True, min_size=8))),
                         ('val', dict(test_mode=True))):
        cfg[f'{split}_dataloader'] = dict(dataset=dict(
            type='CocoDataset', data_root=f'{root}/', ann_file=f'annotations/{split}.json',
            data_prefix=dict(img=f'{split}/'), metainfo=dict(classes=CLASSES), pipeline=[],
            **extra))
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    cfg.update(copy.deepcopy(LOOPS))
    return SimpleNamespace(root=root, cfg=cfg, write=write, contents=contents)


@pytest.fixture
def labels(tmp_path):
    """A data set in ADE20K's layout, classes from 0: ``root``, ``cfg``, ``write(...)``."""
    root = tmp_path / 'ade'

    def write(split, name, values):
        """A label map 24 x 32 with equal stripes of the given values."""
        stripes = np.repeat(np.array(values, np.uint8), -(-24 // len(values)))[:24]
        folder = root / 'annotations' / split
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.tile(stripes[:, None], (1, 32))).save(folder / f'{name}.png')

    for split, first, count in (('training', 0, 3), ('validation', 10, 2)):
        (root / 'images' / split).mkdir(parents=True)
        for name in range(first, first + count):
            noise_image(name).save(root / 'images' / split / f'{name}.jpg')
            write(split, name, [0, 1, 255])
    decode = dict(type='UPerHead', in_channels=[40, 80, 160, 320], in_index=[0, 1, 2, 3],
                  channels=8, num_classes=2)
    cfg = Config(dict(
        default_scope='mmseg', work_dir=str(tmp_path / 'work'),
        model=dict(type='convnext_dense.EncoderDecoder', backbone=dict(
            type='convnext_dense.ConvNeXt', arch='atto', out_indices=(0, 1, 2, 3)),
            decode_head=decode,
            auxiliary_head=dict(type='FCNHead', in_channels=160, in_index=2, channels=8,
                                num_classes=2)),
        val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU'])))
    for split, folder in (('train', 'training'), ('val', 'validation')):
        cfg[f'{split}_dataloader'] = dict(dataset=dict(
            type='BaseSegDataset', data_root=str(root), metainfo=dict(classes=CLASSES),
            data_prefix=dict(img_path=f'images/{folder}', seg_map_path=f'annotations/{folder}'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]))
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    cfg.update(copy.deepcopy(LOOPS))
    return SimpleNamespace(root=root, cfg=cfg, write=write)
