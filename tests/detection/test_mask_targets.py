"""The mask head is trained towards mmdet's targets, pixel for pixel."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead as MMDetFCNMaskHead
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import ConfigDict

import convnext_dense.detection.mask_head as mask_head_module
from convnext_dense.detection.mask_head import FCNMaskHead

HEIGHT, WIDTH = 90, 130


@pytest.fixture
def random():
    return np.random.default_rng(0)


def ellipses(random, number=4, height=HEIGHT, width=WIDTH):
    masks = np.zeros((number, height, width), np.uint8)
    for mask in masks:
        centre = int(random.integers(0, width)), int(random.integers(0, height))
        axes = int(random.integers(1, width // 2)), int(random.integers(1, height // 2))
        cv2.ellipse(mask, centre, axes, float(random.uniform(0, 180)), 0, 360, 1, -1)
    return BitmapMasks(masks, height, width)


def random_boxes(random, number):
    """Of every size, some of them partly or wholly outside of the image."""
    corners = np.sort(random.uniform(-20, 1.2 * WIDTH, (number, 2, 2)), axis=1)
    return torch.from_numpy(corners.reshape(number, 4)).float()


def targets(head, images, size=(28, 28), **cfg):
    """Targets of images, each (masks, boxes, index of each box's mask), and the boxes after."""
    sampled = [SimpleNamespace(pos_priors=boxes.clone(), pos_assigned_gt_inds=index)
               for _, boxes, index in images]
    instances = [SimpleNamespace(masks=masks) for masks, _, _ in images]
    results = head.get_targets(head, sampled, instances, ConfigDict(mask_size=size, **cfg))
    return results, [each.pos_priors for each in sampled]


def assert_equals_mmdet(images, **options):
    results, boxes = targets(FCNMaskHead, images, **options)
    expected, expected_boxes = targets(MMDetFCNMaskHead, images, **options)
    assert results.dtype == expected.dtype and torch.equal(results, expected)
    assert all(torch.equal(a, b) for a, b in zip(boxes, expected_boxes))  # clipped alike
    return results


@pytest.mark.parametrize('size', [28, (14, 7)])
@pytest.mark.parametrize('rounded', [False, True], ids=['anywhere', 'whole pixels'])
def test_targets_of_several_images(random, rounded, size):
    images = [(ellipses(random), random_boxes(random, number),
                 torch.from_numpy(random.integers(0, 4, number))) for number in (60, 1, 25)]
    if rounded:
        images = [(masks, boxes.round(), index) for masks, boxes, index in images]
    results = assert_equals_mmdet(images, size=size)
    assert .1 < results.mean() < .9


def test_ties_are_mmcvs(random, monkeypatch):
    """Bins of 2x2 pixels on a mask's edge are covered by exactly a half."""
    asked, by_mmcv = [], BitmapMasks.crop_and_resize

    def crop_and_resize(masks, boxes, *args, **kwargs):
        asked.append(len(boxes))
        return by_mmcv(masks, boxes, *args, **kwargs)

    monkeypatch.setattr(BitmapMasks, 'crop_and_resize', crop_and_resize)
    masks = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    masks[0, 11:40, 21:80] = 1
    boxes = torch.tensor([[10., 10., 66., 66.], [20.3, 11.2, 70.1, 60.7]])
    assert_equals_mmdet([(BitmapMasks(masks, HEIGHT, WIDTH), boxes, torch.tensor([0, 0]))])
    assert asked == [1, 2]  # one of ours, then both of mmdet's


def test_edge_cases(random):
    masks = ellipses(random)
    masks.masks[1] = 0
    boxes = torch.tensor([
        [0., 0., WIDTH, HEIGHT], [5., 5., 5., 5.], [3., 4., 3., 80.], [-50., -50., -1., -1.],
        [WIDTH - .5, HEIGHT - .5, WIDTH + 9, HEIGHT + 9], [40.2, 30.1, 40.4, 30.2]])
    for mask in range(len(masks.masks)):
        assert_equals_mmdet([(masks, boxes, torch.full((len(boxes), ), mask))])


def test_no_object_and_no_image(random):
    none = ellipses(random), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    assert assert_equals_mmdet([none, none]).shape == (0, 28, 28)
    assert targets(FCNMaskHead, []) == targets(MMDetFCNMaskHead, []) == ([], [])


def test_other_masks_are_left_to_mmdet(random, monkeypatch):
    monkeypatch.setattr(mask_head_module, 'crop_and_resize', None)
    boxes, index = random_boxes(random, 8), torch.zeros(8, dtype=torch.long)
    polygon = np.array([10., 10., 90., 20., 50., 70.])
    assert_equals_mmdet([(PolygonMasks([[polygon]], HEIGHT, WIDTH), boxes, index)])
    soft = assert_equals_mmdet([(ellipses(random), boxes, index)], soft_mask_target=True)
    assert ((soft > 0) & (soft < 1)).any()
