"""Masks are encoded to pycocotools' bytes, in a thread if wanted."""
import copy
import threading

import numpy as np
import pytest
import torch
from pycocotools import mask as reference

from convnext_dense.evaluation import rle
from convnext_dense.evaluation.rle import BackgroundEncoder, encode_masks

RNG = np.random.default_rng(0)


def expected(masks):
    return [reference.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]


@pytest.mark.parametrize('shape', [(3, 20, 30), (1, 1, 1), (2, 1, 9), (2, 9, 1), (5, 64, 64),
                                   (0, 20, 30)])
@pytest.mark.parametrize('density', [0, .02, .5, 1])
def test_bytes_are_pycocotools(shape, density):
    masks = RNG.random(shape) < density
    assert encode_masks(masks) == expected(masks)
    assert encode_masks(torch.from_numpy(masks)) == expected(masks)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64, torch.float32])
def test_masks_of_zeros_and_ones_of_any_type(dtype):
    masks = RNG.random((4, 12, 17)) < .3
    assert encode_masks(torch.from_numpy(masks).to(dtype)) == expected(masks)


def test_masks_need_not_be_contiguous():
    masks = torch.from_numpy(RNG.random((12, 17, 4)) < .3).permute(2, 0, 1)
    assert encode_masks(masks) == expected(masks.numpy())


def test_masks_that_lie_by_columns_take_one_call(monkeypatch):
    columns = torch.from_numpy(RNG.random((4, 17, 12)) < .3)
    calls = []
    encode = rle.hotcoco_mask.encode
    monkeypatch.setattr(rle.hotcoco_mask, 'encode', lambda masks: calls.append(1) or encode(masks))
    masks = columns.transpose(1, 2)
    assert encode_masks(masks) == expected(masks.numpy()) and calls == [1]


def test_masks_of_another_device_arrive_transposed():
    masks = torch.from_numpy(RNG.random((4, 12, 17)) < .3)
    columns = rle._columns_to_cpu(masks)
    assert columns.shape == (4, 17, 12) and columns.dtype == np.uint8
    assert rle._encode_columns(columns) == expected(masks.numpy())
    assert rle._encode_columns(columns[:0]) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_masks_on_a_gpu():
    masks = torch.from_numpy(RNG.random((4, 12, 17)) < .3)
    assert BackgroundEncoder().submit(masks.cuda()).result() == expected(masks.numpy())


def test_background_encoder_keeps_the_images_apart():
    encoder = BackgroundEncoder(backlog=2)
    images = [RNG.random((3, 20, 30)) < .3 for _ in range(7)]
    futures = [encoder.submit(torch.from_numpy(masks)) for masks in images]
    assert [future.result() for future in futures] == [expected(masks) for masks in images]


def test_background_encoder_bounds_the_waiting_masks(monkeypatch):
    gate, running = threading.Event(), []
    monkeypatch.setattr(rle, 'encode_masks', lambda masks: running.append(0) or gate.wait(5))
    encoder = BackgroundEncoder(backlog=2)
    encoder.submit(None), encoder.submit(None)
    third = threading.Thread(target=encoder.submit, args=(None,))
    third.start()
    third.join(.1)
    assert third.is_alive()  # waits for the first
    gate.set()
    third.join(5)
    assert not third.is_alive()


def test_background_encoder_can_be_copied():
    encoder = BackgroundEncoder()
    encoder.submit(np.ones((1, 2, 2), bool))
    assert copy.deepcopy(encoder).submit(np.ones((1, 2, 2), bool)).result()[0]['size'] == [2, 2]
