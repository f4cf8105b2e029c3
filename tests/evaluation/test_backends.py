"""Every backend gives pycocotools' 12 figures."""
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle
from random_coco import random_dataset, random_images
from reference_coco import reference_stats

from convnext_dense.errors import InputError
from convnext_dense.evaluation import backends
from convnext_dense.evaluation.backends import load_ground_truth
from convnext_dense.evaluation.coco_figures import class_figures, coco_figures
from convnext_dense.evaluation.coco_metric import IOU_THRESHOLDS
from convnext_dense.evaluation.detections import Detections

BACKENDS = ('hotcoco', 'pycocotools', 'faster-coco-eval')
LIMITS = ([1, 10, 100], [100, 300, 1000])


def figures(backend, dataset, detections, kind, max_dets, use_categories=True):
    truth = load_ground_truth(backend, dataset)
    # in the order of pycocotools' own parameters, which decides ties where classes are ignored
    curves = truth.evaluate(detections, kind, list(truth.images),
                            sorted(category['id'] for category in truth.categories),
                            IOU_THRESHOLDS, max_dets, use_categories)
    return list(coco_figures(curves, IOU_THRESHOLDS, max_dets).values())


def detections_of(dataset, images, kind):
    boxes = Detections.from_images(images, [category['id'] for category in dataset['categories']])
    return boxes.with_masks(images) if kind == 'segm' else boxes


@settings(max_examples=200, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2 ** 32 - 1), images=st.integers(1, 5), categories=st.integers(1, 4),
       objects=st.integers(0, 8), detections=st.sampled_from([0, 3, 12, 12, 12, 130]),
       levels=st.sampled_from([0, 1, 4, 20]), crowds=st.sampled_from([0, .2, 1]),
       limits=st.sampled_from(LIMITS))
def test_hotcoco_equals_pycocotools_on_random_data_sets(
        seed, images, categories, objects, detections, levels, crowds, limits):
    rng = np.random.default_rng(seed)
    dataset = random_dataset(rng, images, categories, objects, crowds)
    found = random_images(rng, dataset, detections, levels)
    for kind in ('bbox', 'segm'):
        columns = detections_of(dataset, found, kind)
        expected = reference_stats(dataset, columns, kind, limits)
        np.testing.assert_allclose(figures('hotcoco', dataset, columns, kind, limits), expected,
                                   rtol=0, atol=1e-12)


@pytest.mark.parametrize('together', [1, 30])
@pytest.mark.parametrize('limits', LIMITS)
def test_boxes_that_go_to_the_library_in_parts_give_the_same_figures(
        monkeypatch, together, limits):
    monkeypatch.setattr(backends, 'TOGETHER', together)
    rng = np.random.default_rng(6)
    dataset = random_dataset(rng, 4, 5, 8, .2)
    columns = detections_of(dataset, random_images(rng, dataset, 40, 4), 'bbox')
    numbers = np.unique(columns.category_ids, return_inverse=True)[1] + 1
    groups = backends._groups(np.arange(1, 6), numbers)
    assert len(groups) > 2 and np.concatenate(groups).tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(
        figures('hotcoco', dataset, columns, 'bbox', limits),
        reference_stats(dataset, columns, 'bbox', limits), rtol=0, atol=1e-12)


@pytest.mark.parametrize('name', [str, int])
@pytest.mark.parametrize('unknown', [2, 99])
def test_an_image_that_the_annotations_do_not_list_is_never_counted_as_another(name, unknown):
    box = dict(id=1, image_id=name(1), category_id=1, bbox=[0, 0, 9, 9], area=81)
    truth = load_ground_truth('hotcoco', dict(
        images=[dict(id=name(1)), dict(id=name(3))], categories=[dict(id=1, name='a')],
        annotations=[box]), masks=False)
    found = Detections.from_images([dict(
        img_id=name(unknown), bboxes=np.array([[0, 0, 9, 9.]]), scores=np.ones(1),
        labels=np.zeros(1, int))], [1])
    with pytest.raises(KeyError):
        truth.evaluate(found, 'bbox', [name(1), name(3)], [1], [.5], [100])


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('kind', ['bbox', 'segm'])
@pytest.mark.parametrize('use_categories', [True, False])
def test_every_backend_equals_pycocotools(backend, kind, use_categories):
    rng = np.random.default_rng(5)
    dataset = random_dataset(rng, 12, 4, 8)
    columns = detections_of(dataset, random_images(rng, dataset, 40, 9), kind)
    for limits in LIMITS:
        expected = reference_stats(dataset, columns, kind, limits, use_categories)
        assert expected[0] > 0.01
        np.testing.assert_allclose(
            figures(backend, dataset, columns, kind, limits, use_categories), expected,
            rtol=0, atol=1e-12)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_no_detections_at_all_give_zero(backend, kind):
    rng = np.random.default_rng(2)
    dataset = random_dataset(rng, 4, 3, 8)
    columns = detections_of(dataset, random_images(rng, dataset, 0), kind)
    assert len(columns) == 0
    assert figures(backend, dataset, columns, kind, [100, 300, 1000])[0] == 0


@pytest.mark.parametrize('backend', BACKENDS)
def test_an_annotation_with_id_0_counts(backend):
    # cocoapi takes a match with id 0 for no match
    dataset = {'images': [{'id': 1, 'height': 50, 'width': 50}],
               'categories': [{'id': 1, 'name': 'thing'}],
               'annotations': [{'id': 0, 'image_id': 1, 'category_id': 1, 'iscrowd': 0,
                                'bbox': [5., 5., 20., 20.], 'area': 400.}]}
    columns = Detections(np.array([1]), np.array([1]), np.array([[5., 5., 20., 20.]]),
                         np.array([.9]))
    assert figures(backend, dataset, columns, 'bbox', [1, 10, 100])[0] == pytest.approx(1)


def test_summary_ap_counts_100_detections_like_cocoapi():
    # 100 false detections with higher scores than the right one, which is number 101
    dataset = {'images': [{'id': 1, 'height': 120, 'width': 150}],
               'categories': [{'id': 1, 'name': 'thing'}],
               'annotations': [{'id': 1, 'image_id': 1, 'category_id': 1, 'iscrowd': 0,
                                'bbox': [5., 5., 20., 20.], 'area': 400.}]}
    boxes = np.tile([100., 100., 5., 5.], (101, 1))
    boxes[-1] = 5, 5, 20, 20
    columns = Detections(np.ones(101, int), np.ones(101, int), boxes, np.linspace(.9, .1, 101))
    names = dict(zip(('mAP', 'mAP_50'), figures('hotcoco', dataset, columns, 'bbox',
                                                [100, 300, 1000]), strict=False))
    assert names['mAP'] == 0 and names['mAP_50'] == pytest.approx(1 / 101)


def test_class_figures_are_cocoapis_for_that_class_alone():
    rng = np.random.default_rng(11)
    dataset = random_dataset(rng, 12, 4, 8)
    columns = detections_of(dataset, random_images(rng, dataset, 30), 'bbox')
    truth = load_ground_truth('hotcoco', dataset)
    ids = [category['id'] for category in dataset['categories']]
    rows = class_figures(truth.evaluate(columns, 'bbox', list(truth.images), ids, IOU_THRESHOLDS,
                                        [1, 10, 100]), IOU_THRESHOLDS)
    for category_id in ids:
        one = dict(dataset, annotations=[ann for ann in dataset['annotations']
                                         if ann['category_id'] == category_id])
        mine = columns.category_ids == category_id
        alone = Detections(columns.image_ids[mine], columns.category_ids[mine],
                           columns.boxes[mine], columns.scores[mine])
        stats = reference_stats(one, alone, 'bbox', [1, 10, 100])
        expected = dict(zip(rows[category_id], [*stats[:6], *stats[8:]], strict=True))
        for name, value in rows[category_id].items():
            if np.isnan(value):
                assert expected[name] == -1
            else:
                assert value == pytest.approx(expected[name], abs=1e-12)


def test_unreadable_annotations_are_named(tmp_path):
    path = tmp_path / 'broken.json'
    path.write_text('{"images": [')
    for backend in BACKENDS:
        with pytest.raises(InputError, match='the annotation file .*broken.json is no JSON'):
            load_ground_truth(backend, str(path))
    with pytest.raises(InputError, match="'cocoapi' is none of hotcoco"):
        load_ground_truth('cocoapi', str(path))


@pytest.mark.skipif('CONVNEXT_DENSE_PENNFUDAN' not in os.environ,
                    reason='CONVNEXT_DENSE_PENNFUDAN does not name the Penn-Fudan folder')
@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_penn_fudan_with_realistic_detections(backend, kind):
    folder = Path(os.environ['CONVNEXT_DENSE_PENNFUDAN'])
    dataset = json.loads((folder / 'annotations/instances_val2017.json').read_text())
    rng = np.random.default_rng(3)
    sizes = {image['id']: (image['height'], image['width']) for image in dataset['images']}
    images = []
    for image_id, (height, width) in sizes.items():
        boxes, masks, scores = [], [], []
        for ann in dataset['annotations']:
            if ann['image_id'] != image_id:
                continue
            mask = ann['segmentation']
            mask = rle.merge(rle.frPyObjects(mask, height, width)) if isinstance(mask, list) \
                else rle.frPyObjects(mask, height, width) if isinstance(mask['counts'], list) \
                else mask
            mask = rle.decode(mask)
            for score in (.9, .4, .1):
                shift = rng.integers(-6, 7, 2) * (2 - int(score * 2))
                moved = np.asfortranarray(np.roll(mask, shift, (0, 1)))
                x, y, w, h = rle.toBbox(rle.encode(moved))
                boxes.append([x, y, x + w, y + h])
                masks.append(rle.encode(moved))
                scores.append(score * rng.uniform(.7, 1.1))
        images.append({'img_id': image_id, 'bboxes': np.array(boxes, np.float32).reshape(-1, 4),
                         'labels': np.zeros(len(boxes), int), 'masks': masks,
                         'scores': np.array(scores, np.float32)})
    columns = detections_of(dataset, images, kind)
    expected = reference_stats(dataset, columns, kind, [100, 300, 1000])
    assert 0.2 < expected[0] < 0.99
    np.testing.assert_allclose(
        figures(backend, dataset, columns, kind, [100, 300, 1000]), expected, rtol=0, atol=1e-12)
