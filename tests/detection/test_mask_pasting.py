"""The masks of the mask head are those of mmdet, pixel for pixel."""
import copy

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from pycocotools import mask as pycocotools_mask

from convnext_dense.detection import mask_pasting
from convnext_dense.evaluation.rle import encode_masks
from convnext_dense.registry import MODELS

CLASSES = 5


@pytest.fixture(scope='module')
def heads():
    import mmdet.models  # noqa: F401
    options = dict(num_convs=0, in_channels=4, conv_out_channels=4)
    return [[MODELS.build(dict(type=f'{scope}.FCNMaskHead', num_classes=CLASSES,
                               class_agnostic=agnostic, **options)).eval()
             for scope in ('convnext_dense', 'mmdet')] for agnostic in (False, True)]


def predict(head, logits, boxes, labels, meta, threshold, rescale, activated):
    results = [InstanceData(bboxes=each.clone(), labels=label)
               for each, label in zip(boxes, labels)]
    results = head.predict_by_feat(
        [each.sigmoid() if activated else each for each in logits], results, meta,
        ConfigDict(mask_thr_binary=threshold), rescale=rescale, activate_map=activated)
    return [(result.masks, result.bboxes) for result in results]


def assert_equals_mmdet(heads, boxes, meta, threshold=.5, rescale=True, agnostic=False,
                        activated=False):
    """Equal masks; mmdet takes no box that is wholly outside."""
    torch.manual_seed(0)
    logits = [torch.randn(len(each), 1 if agnostic else CLASSES, 28, 28) for each in boxes]
    labels = [torch.randint(0, CLASSES, (len(each), )) for each in boxes]
    results = [predict(head, logits, boxes, labels, meta, threshold, rescale, activated)
               for head in heads[agnostic]]
    for (masks, scaled), (expected, expected_scaled) in zip(*results):
        assert torch.equal(scaled, expected_scaled)
        assert masks.dtype == expected.dtype and masks.shape == expected.shape
        assert torch.equal(masks, expected)
    return [masks for masks, _ in results[0]]


def random_boxes(number, height, width, largest):
    """Boxes of every size, many of them partly outside, none wholly."""
    centres = torch.rand(number, 2) * torch.tensor([width - 1., height - 1.])
    sides = torch.rand(number, 2) ** 3 * largest + .1
    return torch.cat([centres - sides / 2, centres + sides / 2], dim=1)


META = [dict(ori_shape=(60, 71), scale_factor=(1., 1.))]


@pytest.mark.parametrize('agnostic', [False, True])
@pytest.mark.parametrize('activated', [False, True])
@pytest.mark.parametrize('threshold', [0., .3, .5, 1.])
def test_masks_equal_mmdet(heads, threshold, activated, agnostic):
    torch.manual_seed(1)
    boxes = random_boxes(80, 60, 71, 120)
    masks, = assert_equals_mmdet(heads, [boxes], META, threshold, True, agnostic, activated)
    assert masks.any() == (threshold < 1)


@pytest.mark.parametrize('rescale', [True, False])
def test_scaled_images_of_a_batch_equal_mmdet(heads, rescale):
    torch.manual_seed(2)
    metas = [dict(ori_shape=(60, 71), scale_factor=(1.3, 1.25)),
             dict(ori_shape=(33, 20), scale_factor=(.7, .8)),
             dict(ori_shape=(50, 50), scale_factor=(1., 1.))]
    boxes = [random_boxes(20, 60, 71, 90) * torch.tensor([1.3, 1.25, 1.3, 1.25]),
             random_boxes(7, 33, 20, 40) * torch.tensor([.7, .8, .7, .8]), torch.zeros(0, 4)]
    masks = assert_equals_mmdet(heads, boxes, metas, rescale=rescale)
    assert masks[0].shape == (20, 60, 71) if rescale else (20, 75, 92)
    assert len(masks[2]) == 0


@pytest.mark.parametrize('threshold', [0., .5])
@pytest.mark.parametrize('box', [
    (10., 10., 10.2, 10.3), (10.5, 7., 10.5, 20.), (9., 9., 9., 9.),  # tiny, without extent
    (3., 4., 5., 5.), (-200., -100., 300., 400.), (69.5, 58., 90., 80.)], ids=str)
def test_edge_cases_equal_mmdet(heads, box, threshold):
    assert_equals_mmdet(heads, [torch.tensor([box])], META, threshold)


def test_a_box_outside_the_image_has_an_empty_mask(heads):
    """mmdet fails on it."""
    boxes = torch.tensor([[-50., -50., -20., -20.], [100., 10., 140., 30.]])
    (masks, _), = predict(heads[0][0], [torch.ones(2, CLASSES, 28, 28)], [boxes],
                          [torch.zeros(2, dtype=torch.long)], META, .5, True, False)
    assert masks.shape == (2, 60, 71) and not masks.any()


@pytest.mark.parametrize('threshold', [0., .3, .5, 1.])
def test_crops_are_the_masks_where_the_boxes_lie(threshold, monkeypatch):
    torch.manual_seed(5)
    boxes = torch.cat([random_boxes(60, 60, 71, 120), torch.tensor([
        [-50., -50., -20., -20.], [100., 10., 140., 30.], [10.5, 7., 10.5, 20.],
        [9., 9., 9., 9.], [-200., -100., 300., 400.], [3., 4., 5., 5.]])])
    masks = torch.rand(len(boxes), 28, 28)
    monkeypatch.setattr(mask_pasting, 'CHUNK', 500)  # a crop is pasted in several parts
    crops = mask_pasting.paste_crops(masks, boxes, 60, 71, threshold)
    whole = torch.zeros(len(boxes), 60, 71, dtype=torch.bool)
    for index, (left, top, crop) in enumerate(crops):
        height, width = crop.shape
        whole[index, top:top + height, left:left + width] = torch.from_numpy(crop)
    assert torch.equal(whole, mask_pasting.paste_masks(masks, boxes, 60, 71, threshold))
    assert sum(crop.size for _, _, crop in crops) < whole.numel() / 2


def test_a_box_that_is_no_number_has_an_empty_crop():
    crop, = mask_pasting.paste_crops(
        torch.ones(1, 28, 28), torch.full((1, 4), float('nan')), 60, 71, .5)
    assert crop[2].sum() == 0


@pytest.mark.parametrize('rescale', [True, False])
def test_a_head_that_crops_gives_the_same_masks_and_boxes(heads, rescale):
    torch.manual_seed(6)
    meta = [dict(ori_shape=(60, 71), scale_factor=(1.3, 1.25))]
    boxes, logits = [random_boxes(20, 60, 71, 90)], [torch.randn(20, CLASSES, 28, 28)]
    arguments = (logits, boxes, [torch.randint(0, CLASSES, (20, ))], meta, .5, rescale, False)
    (expected, expected_boxes), = predict(heads[0][0], *arguments)
    head = copy.deepcopy(heads[0][0])
    head.cropped = True
    (crops, found_boxes), = predict(head, *arguments)
    assert torch.equal(found_boxes, expected_boxes) and len(crops) == 20
    for (left, top, crop), mask in zip(crops, expected.numpy()):
        height, width = crop.shape
        assert np.array_equal(mask[top:top + height, left:left + width], crop)
        assert mask.sum() == crop.sum()


def test_masks_for_debugging_are_mmdets(heads):
    torch.manual_seed(3)
    masks, = assert_equals_mmdet(heads, [random_boxes(5, 60, 71, 60)], META, threshold=-1.)
    assert masks.dtype == torch.uint8


def test_rles_of_pasted_masks_equal_pycocotools(heads):
    torch.manual_seed(4)
    masks, = assert_equals_mmdet(heads, [random_boxes(30, 60, 71, 90)], META)
    assert encode_masks(masks) == pycocotools_mask.encode(
        np.asfortranarray(masks.numpy().transpose(1, 2, 0).astype(np.uint8)))


def test_autocast_does_not_round_where_masks_are_pasted_and_cut():
    from mmdet.structures.mask import BitmapMasks

    from convnext_dense.detection.mask_pasting import paste_masks
    from convnext_dense.detection.mask_targets import crop_and_resize
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(6, 28, 28, generator=generator)
    boxes = torch.rand(6, 4, generator=generator) * 40 + torch.tensor([0., 0., 50., 60.])
    bitmaps = BitmapMasks((torch.rand(6, 100, 90, generator=generator) > .5).numpy(), 100, 90)
    arguments = ((paste_masks, (masks, boxes, 100, 90, .5)),
                 (crop_and_resize, (bitmaps, boxes.numpy(), (28, 28), np.arange(6))))
    for function, values in arguments:
        with torch.autocast('cpu', torch.bfloat16):
            found = function(*values)
        np.testing.assert_array_equal(found, function(*values))
