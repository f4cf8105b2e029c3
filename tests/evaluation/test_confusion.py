"""Integer pixel counts, checked against mmseg and against loops."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.evaluation import IoUMetric as Reference

from convnext_dense.evaluation.confusion import (
    boundary_mask,
    count_boundaries,
    count_pixels,
    table_side,
)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2 ** 32 - 1), classes=st.sampled_from([1, 2, 19, 150, 254, 300]),
       ignore=st.sampled_from([255, 0, -100, 1000]), dtype=st.sampled_from(['uint8', 'int64']),
       share=st.sampled_from([0, .3, 1]))
def test_counts_equal_mmseg_with_ignored_labels(seed, classes, ignore, dtype, share):
    rng = np.random.default_rng(seed)
    if dtype == 'uint8' and (classes > 255 or not 0 <= ignore < 256):
        dtype = 'int64'
    shape = tuple(rng.integers(1, 40, 2))
    prediction = torch.from_numpy(rng.integers(0, classes, shape))
    label = rng.integers(0, classes, shape)
    label[rng.random(shape) < share] = ignore
    label = torch.from_numpy(label.astype(dtype))
    table = count_pixels(prediction, label, classes, ignore)
    assert table.dtype == torch.int64
    assert table.shape == (table_side(classes), table_side(classes))
    table = table[:classes, :classes]
    intersect, _, predicted, annotated = Reference.intersect_and_union(
        prediction, label.to(prediction), classes, ignore)
    if classes > 1:  # histc has no bin for one class
        assert torch.equal(table.diagonal(), intersect.long())
        assert torch.equal(table.sum(0), predicted.long())
        assert torch.equal(table.sum(1), annotated.long())
    valid = label != ignore
    assert table.sum() == valid.sum()


@pytest.mark.parametrize('value', [-1, -300, 300, 70000])
def test_labels_outside_the_table_are_counted_in_its_last_row_and_column(value):
    prediction, label = torch.tensor([0, value, 2]), torch.tensor([0, 1, value])
    table = count_pixels(prediction, label, 3)
    assert {tuple(cell): int(table[tuple(cell)]) for cell in table.nonzero().tolist()} == {
        (0, 0): 1, (1, 257): 1, (257, 2): 1}
    assert table_side(3) == 258


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize('value', [3, 253, 254, 255])
def test_each_label_but_the_ignored_one_is_counted_in_every_type(dtype, value):
    table = count_pixels(torch.tensor([0, 0]), torch.tensor([0, value]).to(dtype), 3, 250)
    assert table.nonzero().tolist() == [[0, 0], [value, 0]]
    table = count_pixels(torch.tensor([0, 0]), torch.tensor([0, value]).to(dtype), 3, value)
    assert table.nonzero().tolist() == [[0, 0]]


def test_predictions_of_any_type():
    label = torch.tensor([0, 1, 1], dtype=torch.uint8)
    for dtype in (torch.uint8, torch.int32, torch.float32, torch.bool):
        table = count_pixels(torch.tensor([0, 1, 0]).to(dtype), label, 2)
        assert table[:2, :2].tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize('label', [[[3]], [[1, 1], [1, 1]], [[255, 255]], [[0, 1, 0, 1]]])
def test_maps_of_one_run_and_of_runs_of_one_pixel(label):
    label = torch.tensor(label, dtype=torch.uint8)
    table = count_pixels(label.long().clamp(max=3), label, 4)
    assert table.diagonal().tolist()[:4] == [int((label == n).sum()) for n in range(4)]
    assert table.sum() == (label != 255).sum()


def slow_boundary(labels, distance):
    height, width = labels.shape
    boundary = np.zeros(labels.shape, bool)
    for y in range(height):
        for x in range(width):
            top, left = y - distance, x - distance
            bottom, right = y + distance + 1, x + distance + 1
            boundary[y, x] = top < 0 or left < 0 or bottom > height or right > width or len(
                np.unique(labels[top:bottom, left:right])) > 1
    return boundary


@pytest.mark.parametrize('ratio,distance', [(.02, 1), (.1, 4)])
def test_boundary_is_what_lies_near_another_label_or_the_edge(ratio, distance):
    rng = np.random.default_rng(1)
    labels = np.kron(rng.integers(0, 3, (3, 4)), np.ones((10, 8), int))
    mask = boundary_mask(torch.from_numpy(labels), ratio)
    assert np.array_equal(mask.numpy(), slow_boundary(labels, distance))


def test_boundary_is_that_of_the_paper_for_one_class():
    # mask_to_boundary of Cheng et al.: the mask less its erosion, the edge of the image outside
    import cv2
    mask = np.zeros((60, 80), np.uint8)
    cv2.circle(mask, (30, 30), 22, 1, -1)
    distance = round(.02 * np.hypot(60, 80))
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    ours = boundary_mask(torch.from_numpy(mask)).numpy() & (mask == 1)
    assert np.array_equal(ours, (mask - eroded) == 1)


def test_boundary_counts():
    label = torch.zeros(20, 20, dtype=torch.uint8)
    label[:, 10:] = 1
    label[:2] = 255
    perfect = torch.where(label == 255, 0, label).long()
    intersection, prediction, annotated = count_boundaries(perfect, label, 2)
    # d is 1, rows 2...19 count: in each half two columns, the last row, and the row below the
    # ignored ones; the prediction goes on as class 0 above, so only class 1 ends there
    assert annotated.tolist() == [2 * 18 + 8 + 8, 2 * 18 + 8 + 8]
    assert prediction.tolist() == [2 * 18 + 8, 2 * 18 + 8 + 8]
    assert intersection.tolist() == prediction.tolist()
    intersection, prediction, _ = count_boundaries(1 - perfect, label, 2)
    assert intersection.tolist() == [0, 0] and prediction.sum() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_counts_on_a_gpu_are_those_of_the_cpu():
    rng = np.random.default_rng(0)
    prediction = torch.from_numpy(np.kron(rng.integers(0, 150, (9, 9)), np.ones((30, 30), int)))
    label = prediction.roll(7, 1).to(torch.uint8)
    for count in (count_pixels, count_boundaries):
        assert torch.equal(count(prediction.cuda(), label.cuda(), 150).cpu(),
                           count(prediction, label, 150))
