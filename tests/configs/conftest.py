"""COCO's, ADE20K's and COCO's panoptic layout with one small image."""
import json

import cv2
import numpy as np
import pytest

from convnext_dense.datasets.panoptic import segment_colours


@pytest.fixture(scope='session')
def coco(tmp_path_factory):
    """COCO's layout with one image of two objects."""
    root = tmp_path_factory.mktemp('coco')
    boxes = [[5, 5, 30, 25], [40, 20, 35, 25]]
    content = dict(
        info={}, images=[dict(id=1, file_name='1.jpg', width=90, height=60)],
        annotations=[dict(id=n, image_id=1, category_id=1, iscrowd=0, bbox=[x, y, w, h],
                          area=w * h, segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]])
                     for n, (x, y, w, h) in enumerate(boxes, 1)])
    from mmdet.datasets import CocoDataset
    content['categories'] = [dict(id=n, name=name)
                             for n, name in enumerate(CocoDataset.METAINFO['classes'], 1)]
    (root / 'annotations').mkdir()
    for split in ('train', 'val'):
        (root / f'{split}2017').mkdir()
        (root / f'annotations/instances_{split}2017.json').write_text(json.dumps(content))
        cv2.imwrite(str(root / f'{split}2017/1.jpg'), random_image(60, 90))
    return str(root)


@pytest.fixture(scope='session')
def ade20k(tmp_path_factory):
    """ADE20K's layout with one image."""
    root = tmp_path_factory.mktemp('ade20k')
    for split in ('training', 'validation'):
        for kind in ('images', 'annotations'):
            (root / kind / split).mkdir(parents=True)
        cv2.imwrite(str(root / f'images/{split}/1.jpg'), random_image(60, 80))
        labels = np.random.default_rng(0).integers(0, 151, (60, 80), dtype=np.uint8)
        cv2.imwrite(str(root / f'annotations/{split}/1.png'), labels)
    return str(root)


def random_image(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope='session')
def coco_panoptic(tmp_path_factory):
    """COCO's panoptic layout, and its instances, with one image: two things, one stuff, void."""
    from mmdet.datasets import CocoPanopticDataset
    root = tmp_path_factory.mktemp('coco_panoptic')
    ids = np.zeros((60, 90), np.int32)
    ids[:20], ids[25:50, 5:35], ids[25:50, 40:75] = 70000, 300, 2
    classes = CocoPanopticDataset.METAINFO
    categories = [dict(id=number, name=name, isthing=int(name in classes['thing_classes']))
                  for number, name in enumerate(classes['classes'], 1)]
    stuff = next(one['id'] for one in categories if not one['isthing'])
    segments, instances = [], []
    for segment, category in ((300, 1), (2, 2), (70000, stuff)):
        rows, columns = np.nonzero(ids == segment)
        x, y = int(columns.min()), int(rows.min())
        w, h = int(columns.max()) - x + 1, int(rows.max()) - y + 1
        segments.append(dict(id=segment, category_id=category, iscrowd=0, bbox=[x, y, w, h],
                             area=len(rows)))
        if category != stuff:
            instances.append(dict(
                id=segment, image_id=1, category_id=category, iscrowd=0, bbox=[x, y, w, h],
                area=w * h, segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]]))
    image = dict(id=1, file_name='1.jpg', width=90, height=60)
    for split in ('train', 'val'):
        folder = root / f'annotations/panoptic_{split}2017'
        folder.mkdir(parents=True)
        (root / f'{split}2017').mkdir()
        cv2.imwrite(str(root / f'{split}2017/1.jpg'), random_image(60, 90))
        cv2.imwrite(str(folder / '1.png'), segment_colours(ids)[..., ::-1])
        folder.with_suffix('.json').write_text(json.dumps(dict(
            images=[image], categories=categories, annotations=[
                dict(image_id=1, file_name='1.png', segments_info=segments)])))
        (root / f'annotations/instances_{split}2017.json').write_text(json.dumps(dict(
            images=[image], annotations=instances,
            categories=[one for one in categories if one['isthing']])))
    return str(root)
