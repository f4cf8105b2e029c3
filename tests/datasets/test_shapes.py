"""The embedded data set: what its images, masks and files promise."""
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from convnext_dense.cli import run_command
from convnext_dense.datasets import shapes
from convnext_dense.errors import InputError

SIZE = 96


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    assert shapes.write_shapes(root, train=6, val=4, size=SIZE)
    return root


def decode(segmentation):
    runs = coco_mask.frPyObjects(segmentation, SIZE, SIZE)
    return coco_mask.decode(coco_mask.merge(runs) if isinstance(runs, list) else runs) > 0


def test_same_seed_draws_the_same_image_and_another_seed_another_one():
    first, again, other = (shapes.draw_image(seed, SIZE)[0] for seed in ([0, 3], [0, 3], [1, 3]))
    assert (first == again).all()
    assert not (first == other).all()


def test_train_and_val_share_no_image(root):
    images = [path.read_bytes() for path in root.glob('images/*/*.jpg')]
    assert len(images) == len(set(images)) == 10


def test_visible_parts_exclude_each_other_and_agree_with_the_label_map():
    for index in range(20):
        _, masks, classes, labels = shapes.draw_image([0, index], SIZE)
        assert masks.sum(0).max() == 1
        for mask, name in zip(masks, classes):
            assert (labels[mask] == shapes.BACKGROUND + 1 + name).all()
        assert (labels[~masks.any(0)] <= shapes.BACKGROUND).all()


def test_there_are_overlaps_all_classes_and_small_to_large_shapes():
    masks, classes = zip(*(shapes.draw_image([0, index])[1:3] for index in range(60)))
    areas = np.concatenate([image.sum((1, 2)) for image in masks])
    assert set(np.concatenate(classes)) == set(range(len(shapes.CLASSES)))
    # COCO's limits: small below 32**2 pixels, medium from there on
    assert (areas < 32**2).mean() > .25 and (areas > 32**2).mean() > .25
    boxes = [[shapes._bounding_box(mask) for mask in image] for image in masks]
    overlaps = [np.triu(coco_mask.iou(np.array(b, float), np.array(b, float), [0] * len(b)), 1)
                for b in boxes]
    assert np.mean([overlap.max() > .1 for overlap in overlaps]) > .25


def test_every_mask_is_decoded_to_exactly_itself_also_hidden_parts_and_holes():
    kinds = set()
    for index in range(40):
        for mask in shapes.draw_image([0, index], SIZE)[1]:
            segmentation = shapes.encode_mask(mask)
            kinds.add(type(segmentation))
            assert (decode(segmentation) == mask).all()
    assert kinds == {list, dict}


@pytest.mark.parametrize('rows', [
    ['1'], ['11'], ['101'], ['10', '01'], ['111', '101', '111'], ['100', '111', '001']])
def test_small_masks_are_decoded_to_themselves(rows):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[5:5 + len(rows), 7:7 + len(rows[0])] = [[cell == '1' for cell in row] for row in rows]
    assert (decode(shapes.encode_mask(mask)) == mask).all()


def test_coco_annotations_agree_with_the_label_maps(root):
    coco = COCO(root / 'annotations/instances_training.json')
    assert [c['name'] for c in coco.loadCats(coco.getCatIds())] == list(shapes.CLASSES)
    for image in coco.dataset['images']:
        labels = cv2.imread(str(root / 'annotations/training' / image['file_name']).replace(
            '.jpg', '.png'), cv2.IMREAD_UNCHANGED)
        drawn = np.full((SIZE, SIZE), shapes.BACKGROUND)
        for annotation in coco.loadAnns(coco.getAnnIds(image['id'])):
            mask = coco.annToMask(annotation) > 0
            x, y, width, height = annotation['bbox']
            assert mask.sum() == annotation['area'] == mask[y:y + height, x:x + width].sum()
            drawn[mask] = annotation['category_id'] + shapes.BACKGROUND
        known = labels != shapes.UNLABELLED
        assert (labels[known] == drawn[known]).all()


def test_mmdet_reads_it(root):
    from mmdet.datasets import CocoDataset
    from mmdet.utils import register_all_modules
    register_all_modules(init_default_scope=True)
    data = CocoDataset(
        ann_file='annotations/instances_training.json', data_root=str(root),
        data_prefix=dict(img='images/training/'), metainfo=dict(classes=shapes.CLASSES),
        pipeline=[dict(type='LoadImageFromFile'),
                  dict(type='LoadAnnotations', with_bbox=True, with_mask=True)])
    assert len(data) == 6
    image, masks, classes, _ = shapes.draw_image([0, 0], SIZE)
    sample = data[0]
    assert np.abs(sample['img'].astype(int) - image).mean() < 6  # JPEG
    assert sample['gt_bboxes_labels'].tolist() == classes
    assert (sample['gt_masks'].masks.astype(bool) == masks).all()


def test_mmseg_reads_it_with_the_background_as_its_first_class(root):
    from mmseg.datasets import BaseSegDataset
    from mmseg.utils import register_all_modules
    register_all_modules(init_default_scope=True)
    data = BaseSegDataset(
        data_root=str(root), reduce_zero_label=True,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        metainfo=dict(classes=shapes.SCENE_CLASSES),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')])
    assert len(data) == 4
    labels = shapes.draw_image([1, 0], SIZE)[3]
    expected = np.where(labels == shapes.UNLABELLED, 255, labels.astype(int) - 1)
    assert (data[0]['gt_seg_map'] == expected).all()


def test_it_is_left_alone_when_it_is_there_and_replaced_when_settings_differ(tmp_path):
    root = tmp_path / 'deep' / 'shapes'
    assert shapes.write_shapes(root, train=1, val=1, size=64)
    before = (root / shapes.SETTINGS_FILE).stat().st_mtime_ns
    assert not shapes.write_shapes(root, train=1, val=1, size=64)
    assert (root / shapes.SETTINGS_FILE).stat().st_mtime_ns == before
    assert shapes.write_shapes(root, train=2, val=1, size=64)
    assert len(list(root.glob('images/training/*.jpg'))) == 2
    assert [path.name for path in root.parent.iterdir()] == ['shapes']


def test_nothing_is_left_behind_when_the_writing_breaks_off(tmp_path, monkeypatch):
    def full_disk(*args):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(shapes, 'write_image', full_disk)
    with pytest.raises(InputError, match='No space left on device'):
        shapes.write_shapes(tmp_path / 'shapes', train=1, val=1, size=64)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_refused_and_kept(tmp_path, capsys):
    (tmp_path / 'thesis.txt').write_text('precious')
    assert run_command('demo-data', ['--out', str(tmp_path)]) == 2
    assert f'error: {tmp_path} exists and holds no data set of shapes' in capsys.readouterr().err
    assert (tmp_path / 'thesis.txt').read_text() == 'precious'


def test_too_few_or_too_small_images_are_refused(tmp_path):
    with pytest.raises(InputError, match='at least 64 pixels'):
        shapes.write_shapes(tmp_path / 'shapes', size=20)


def test_command_writes_what_its_options_say(tmp_path):
    out = tmp_path / 'shapes'
    argv = ['--out', str(out), '--train', '2', '--val', '1', '--size', '64']
    assert run_command('demo-data', argv) == 0
    settings = json.loads((out / shapes.SETTINGS_FILE).read_text())
    assert (settings['training'], settings['validation'], settings['size']) == (2, 1, 64)
