"""Results convert to other formats without loss."""
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as pycocotools_mask
from pycocotools.coco import COCO

from convnext_dense.errors import InputError
from convnext_dense.prediction.colours import class_colours
from convnext_dense.prediction.results import Instances, LabelMap, crop_mask

NAMES = ('cat', 'dog')
IMAGE = np.full((60, 80, 3), 90, np.uint8)


def two_objects(masks=True):
    full = np.zeros((2, 60, 80), bool)
    full[0, 10:30, 20:50] = True
    full[1, 40:60, 0:7] = True
    full[1, 45, 3] = False
    return Instances(IMAGE, 'a/b.jpg', NAMES, None,
                     np.array([[20, 10, 50, 30], [0, 40, 7, 60]], np.float32),
                     np.array([.9, .4], np.float32), np.array([1, 0]),
                     [crop_mask(mask) for mask in full] if masks else None), full


def three_regions():
    labels = np.zeros((60, 80), np.uint8)
    labels[:, 50:] = 1
    return LabelMap(IMAGE, None, ('ground', 'sky', 'tree'), None, labels)


def test_masks_come_back_whole():
    result, full = two_objects()
    np.testing.assert_array_equal(result.masks, full)
    np.testing.assert_array_equal(result.mask_crops[0].shifted(-5, 20).full(60, 80),
                                  np.roll(full[0], (20, -5), (0, 1)))
    assert crop_mask(np.zeros((4, 5), bool)).full(4, 5).shape == (4, 5)
    assert two_objects(masks=False)[0].masks is None


def test_coco_annotations_are_read_by_pycocotools(tmp_path):
    result, full = two_objects()
    annotations = result.to_coco(image_id=7, category_ids=[3, 8])
    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(dict(
        images=[dict(id=7, file_name='b.jpg', height=60, width=80)],
        categories=[dict(id=3, name='cat'), dict(id=8, name='dog')], annotations=annotations)))
    coco = COCO(str(path))
    first, second = coco.loadAnns(coco.getAnnIds(imgIds=[7]))
    np.testing.assert_array_equal(coco.annToMask(first), full[0])
    np.testing.assert_array_equal(coco.annToMask(second), full[1])
    assert first['bbox'] == [20, 10, 30, 20] and first['area'] == 600
    assert (first['category_id'], second['category_id']) == (8, 3)
    assert first['score'] == pytest.approx(.9)
    boxes = two_objects(masks=False)[0].to_coco()
    assert 'segmentation' not in boxes[0] and boxes[1]['area'] == 140
    assert [box['category_id'] for box in boxes] == [2, 1]


def test_a_label_map_is_one_annotation_a_class():
    annotations = three_regions().to_coco()
    assert [a['category_id'] for a in annotations] == [1, 2]
    assert [a['area'] for a in annotations] == [3000, 1800]
    assert annotations[1]['bbox'] == [50, 0, 30, 60]
    mask = pycocotools_mask.decode(annotations[1]['segmentation'])
    np.testing.assert_array_equal(mask, three_regions().labels == 1)


def test_names_and_counts():
    assert two_objects()[0].class_names == ['dog', 'cat']
    assert two_objects()[0].above(.5).class_names == ['dog']
    assert three_regions().class_names == ['ground', 'sky']
    assert three_regions().pixels.tolist() == [3000, 1800, 0]


def test_supervision_gets_everything():
    pytest.importorskip('supervision', reason='the extra supervision is not installed')
    result, full = two_objects()
    detections = result.to_supervision()
    np.testing.assert_array_equal(detections.xyxy, result.boxes)
    np.testing.assert_array_equal(detections.mask, full)
    assert detections['class_name'].tolist() == ['dog', 'cat']
    assert detections.class_id.tolist() == [1, 0]
    assert detections.confidence.tolist() == result.scores.tolist()
    regions = three_regions().to_supervision()
    assert regions.class_id.tolist() == [0, 1] and regions.area.tolist() == [3000, 1800]


def test_without_supervision_the_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'supervision', None)
    with pytest.raises(InputError, match=r'convnext_dense\[supervision\]'):
        two_objects()[0].to_supervision()


def test_drawings_show_objects_in_their_class_colour_and_keep_the_image():
    result, full = two_objects()
    before = IMAGE.copy()
    drawn = result.plot()
    np.testing.assert_array_equal(IMAGE, before)
    assert drawn.shape == IMAGE.shape and drawn.dtype == np.uint8
    cat, dog = class_colours(2)
    assert tuple(drawn[20, 20]) == dog  # the box's left edge
    inside = drawn[20, 40].astype(int)
    np.testing.assert_allclose(inside, .6 * 90 + .4 * np.array(dog), atol=1)
    assert tuple(drawn[58, 60]) == (90, 90, 90)


def test_a_label_map_is_drawn_in_its_colours():
    result = three_regions()
    colours = np.array(result.colours)
    np.testing.assert_allclose(result.plot()[2, 78].astype(int), .45 * 90 + .55 * colours[1],
                               atol=1)
    np.testing.assert_array_equal(result.coloured()[:, 60], np.broadcast_to(colours[1], (60, 3)))


def test_any_image_can_be_drawn_on():
    for image in (np.zeros((40, 50), np.uint8), np.random.rand(40, 50, 6).astype(np.float32),
                  np.full((40, 50, 1), 4000, np.uint16)):
        result = Instances(image, None, NAMES, None, np.array([[1, 1, 30, 30]], np.float32),
                           np.ones(1, np.float32), np.array([0]))
        assert result.plot().shape == (40, 50, 3)


def test_names_of_other_scripts_and_labels_larger_than_the_image_are_drawn():
    for name in ('Straße', 'кот', 'x' * 300, 'a\nb'):
        result = Instances(np.zeros((20, 20, 3), np.uint8), None, (name, ), None,
                           np.array([[-5, -5, 40, 40]], np.float32), np.ones(1, np.float32),
                           np.array([0]))
        assert result.plot().max() > 0


def test_colours_stay_and_differ():
    assert class_colours(5) == class_colours(80)[:5]
    lab = cv2.cvtColor(np.array([class_colours(20)], np.float32) / 255, cv2.COLOR_BGR2LAB)[0]
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distances[~np.eye(20, dtype=bool)].min() > 25
    assert len(set(class_colours(150))) == 150


def test_saving_names_what_cannot_be_written(tmp_path):
    result, _ = two_objects()
    result.save(tmp_path / 'new' / 'a.png')
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'new' / 'a.png')), result.plot())
    with pytest.raises(InputError, match=r"a.xyz: no image format is named '.xyz'"):
        result.save(tmp_path / 'a.xyz')
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match='cannot be written'):
        result.save(tmp_path / 'file' / 'a.png')


def test_many_small_objects_stay_visible():
    places = np.stack(np.meshgrid(np.arange(40, 1960, 60), np.arange(40, 1960, 60)), -1)
    corners = places.reshape(-1, 2).astype(np.float32)
    image = np.full((2000, 2000, 3), 90, np.uint8)
    result = Instances(image, None, NAMES, None, np.concatenate([corners, corners + 40], 1),
                       np.linspace(.3, 1, len(corners), dtype=np.float32),
                       np.zeros(len(corners), int))
    assert (result.plot() == 90).all(2).mean() > .5
