"""Each defect of a box, polygon or RLE, and what pycocotools says about RLE."""
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from convnext_dense.checks.instance_checks import check_instance
from convnext_dense.datasets.coco_masks import (
    decode_counts,
    polygon_area,
    rle_extent,
    undrawable_mask,
)

SQUARE = [2, 3, 10, 3, 10, 11, 2, 11]


def kinds(with_mask=True, **changes):
    annotation = {**dict(id=7, bbox=[2, 3, 8, 8], area=64, iscrowd=0, segmentation=[SQUARE]),
                  **changes}
    annotation = {key: value for key, value in annotation.items() if value is not None}
    return [finding.kind for finding in check_instance(annotation, 32, 24, with_mask)]


def rle(rows, size=(24, 32)):
    mask = np.zeros(size, np.uint8, order='F')
    mask[rows] = 1
    return coco_mask.encode(mask)


def test_a_good_instance_has_no_findings():
    assert kinds() == []
    assert kinds(segmentation=rle(np.s_[3:11, 2:10])) == []
    assert kinds(segmentation=None, with_mask=False) == []


@pytest.mark.parametrize('box, expected', [
    ([2, 3, 0.5, 8], ['box-empty']),
    ([2, 3, -8, 8], ['box-empty']),
    ([-3, 3, 13, 8], ['box-outside']),
    ([2, 3, 8, 23], ['box-outside', 'mask-off-box']),
    ([-1, 3, 11, 8], []),  # rounding of annotation tools
])
def test_boxes_against_the_image(box, expected):
    assert kinds(bbox=box) == expected


@pytest.mark.parametrize('area', [0, -1])
def test_an_area_that_makes_mmdet_skip_the_instance(area):
    assert kinds(area=area) == ['area']


@pytest.mark.parametrize('mask, expected', [
    (None, ['mask-missing']),
    ([], ['mask-missing']),
    ('mask', ['mask-malformed']),
    ([1, 2, 3, 4, 5, 6], ['mask-malformed']),
    (dict(size=[24, 32]), ['mask-malformed']),
    ([[1, 2, 3, 4]], ['mask-missing', 'polygon-invalid']),
    ([SQUARE, [1, 2, 3, 4, 5, 6, 7]], ['polygon-invalid']),
    ([SQUARE, [1, 2, 3, math.nan, 5, 6]], ['polygon-invalid']),
    ([SQUARE, [4, 4, 5, 5, 6, 6]], ['polygon-degenerate']),
    ([SQUARE, [4, 4, 8, 8, 8, 40]], ['polygon-outside', 'mask-off-box']),
    ([[20, 3, 28, 3, 28, 11]], ['mask-off-box']),
    (dict(size=[32, 24], counts=[768]), ['rle-invalid']),
    (dict(size=[24, 32], counts=[1, 2, 3]), ['rle-invalid']),
    (dict(size=[24, 32], counts=[800, -32]), ['rle-invalid']),
    (dict(size=[24, 32], counts='\n'), ['rle-invalid']),
    (dict(size=[24, 32], counts=[768]), ['mask-empty']),
    (rle(np.s_[12:20, 20:28]), ['mask-off-box']),
])
def test_masks(mask, expected):
    assert kinds(segmentation=mask) == expected


def test_findings_name_the_annotation_and_the_numbers():
    [finding] = check_instance(dict(id=7, bbox=[30, 3, 8, 8], area=64), 32, 24, False)
    assert finding.text == 'annotation 7: bbox [30, 3, 8, 8] in an image of 32 x 24'


def test_the_area_of_a_polygon():
    assert polygon_area(np.array(SQUARE, float).reshape(-1, 2)) == 64
    assert polygon_area(np.array([[0, 0], [4, 0], [0, 3]], float)) == 6


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_runs_and_extent_equal_pycocotools(data):
    """Random masks, from empty to full: the same runs, and the extent of ``toBbox``."""
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    seed, share = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.sampled_from([0, .02, .5, 1]))
    mask = np.asfortranarray(np.random.default_rng(seed).random((height, width)) < share, np.uint8)
    encoded = coco_mask.encode(mask)
    runs = decode_counts(encoded['counts'])
    flat = mask.ravel(order='F')
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    assert runs == np.diff([0, *edges, flat.size]).tolist()
    extent = rle_extent(runs, height)
    if not mask.any():
        assert extent is None
    else:
        x, y, w, h = coco_mask.toBbox(encoded)
        assert extent == (x, y, x + w, y + h)


@pytest.mark.parametrize('mask, problem', [
    (None, None), ([SQUARE], None), ([[-300, 3, 320, 3, 10, 11]], None), ({'counts': 'x'}, None),
    (rle(np.s_[3:11, 2:10]), None),
    ([SQUARE, [2, 3, 10**9, 3, 10, 11]], 'a polygon that reaches to 1e.09, in an image of 32x24'),
    ([[2, 3, 10, 3, 10, -math.inf]], 'a polygon that reaches to -inf'),
    ([[2, 3, 10, 3, 10, math.nan]], 'a polygon that reaches to nan'),
    (dict(size=[10**6, 10**6], counts='x'), r'a mask of size \[1000000, 1000000\], expected '
     r'\[24, 32\]'),
    (dict(size=24, counts='x'), None), (dict(size=[48, 64], counts='x'), None)])
def test_masks_that_would_exhaust_the_memory(mask, problem):
    found = undrawable_mask(mask, 32, 24)
    assert found is None if problem is None else re.match(problem, found)
