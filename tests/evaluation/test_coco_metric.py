"""CocoMetric in place of mmdet's: same options, same keys, same figures; bad input is named."""
import copy
import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric as Reference
from pycocotools import mask as rle
from random_coco import HEIGHT, WIDTH, random_dataset, random_images

import convnext_dense
from convnext_dense.errors import InputError
from convnext_dense.evaluation import CocoMetric
from convnext_dense.registry import METRICS


@pytest.fixture
def case(tmp_path):
    rng = np.random.default_rng(4)
    dataset = random_dataset(rng, 8, 4, 8)
    path = tmp_path / 'annotations.json'
    path.write_text(json.dumps(dataset))
    return Case(dataset, path, random_images(rng, dataset, 30, 9))


class Case:
    def __init__(self, dataset, path, images):
        self.dataset, self.path, self.images = dataset, path, images
        self.classes = [category['name'] for category in dataset['categories']]

    def samples(self, masks='tensor', mask_scores=False):
        samples = []
        for image in self.images:
            pred = {name: torch.from_numpy(np.array(image[name]))
                    for name in ('bboxes', 'scores', 'labels')}
            if mask_scores:
                pred['mask_scores'] = pred['scores'].flip(0)
            if masks == 'tensor':
                stack = np.zeros((0, HEIGHT, WIDTH)) if not image['masks'] else \
                    rle.decode(image['masks']).transpose(2, 0, 1)
                pred['masks'] = torch.from_numpy(stack.astype(bool))
            elif masks == 'rle':
                pred['masks'] = copy.deepcopy(image['masks'])
            samples.append({'img_id': image['img_id'], 'ori_shape': image['size'],
                            'img_path': f'{image["img_id"]}.jpg', 'pred_instances': pred})
        return samples

    def run(self, kind, samples=None, **options):
        options.setdefault('ann_file', str(self.path))
        metric = kind(**options)
        metric.dataset_meta = {'classes': self.classes}
        for sample in self.samples() if samples is None else samples:
            metric.process(None, [sample])
        with redirect_stdout(io.StringIO()):
            return metric.evaluate(len(self.images))


@pytest.mark.parametrize('options', [
    {}, {'metric': 'segm'}, {'metric': ['bbox', 'segm']},
    {'metric': 'proposal'}, {'metric': ['bbox', 'proposal'], 'proposal_nums': (1, 10, 100)},
    {'iou_thrs': np.array([.5, .6])},
    {'metric_items': ['mAP', 'AR@100', 'AR_s@1000']}, {'prefix': 'val'},
    {'sort_categories': True}, {'collect_device': 'cpu'}])
def test_log_equals_mmdet(case, options):
    expected = case.run(Reference, **options)
    for backend in ('hotcoco', 'pycocotools', 'faster-coco-eval'):
        log = case.run(CocoMetric, backend=backend, **options)
        assert list(log) == list(expected)
        np.testing.assert_array_equal(list(log.values()), list(expected.values()))
        assert all(type(value) is float for value in log.values())


def test_figures_of_classes_equal_mmdet_where_ids_ascend(case):
    # elsewhere mmdet writes the figures of the ascending ids beside the file's order of names
    case.dataset['categories'].sort(key=lambda category: category['id'])
    case.path.write_text(json.dumps(case.dataset))
    case.classes.sort(key=lambda name: int(name.split()[1]))
    options = dict(metric=['segm', 'bbox'], classwise=True)
    expected, log = (case.run(kind, **options) for kind in (Reference, CocoMetric))
    assert list(log) == list(expected)
    assert sum(key.endswith('_precision') for key in log) == 4
    np.testing.assert_array_equal(list(log.values()), list(expected.values()))


def test_log_equals_mmdet_without_an_annotation_file(case):
    samples = case.samples()
    by_id = {category['id']: n for n, category in enumerate(case.dataset['categories'])}
    for sample in samples:
        sample['instances'] = [
            {'bbox': [x, y, x + w, y + h], 'bbox_label': by_id[ann['category_id']],
             'ignore_flag': ann['iscrowd'], 'mask': ann['segmentation']}
            for ann in case.dataset['annotations'] if ann['image_id'] == sample['img_id']
            for x, y, w, h in [ann['bbox']]]
    options = dict(ann_file=None, metric=['bbox', 'segm'])
    expected = case.run(Reference, copy.deepcopy(samples), **options)
    assert expected == case.run(CocoMetric, samples, **options)
    assert expected['coco/segm_mAP'] > 0


def test_masks_as_rle_and_scores_of_masks(case):
    tensors = case.run(CocoMetric, metric=['bbox', 'segm'])
    assert case.run(CocoMetric, case.samples('rle'), metric=['bbox', 'segm']) == tensors
    samples = case.samples(mask_scores=True)
    expected = case.run(Reference, copy.deepcopy(samples), metric=['bbox', 'segm'])
    assert case.run(CocoMetric, samples, metric=['bbox', 'segm']) == expected
    assert expected['coco/segm_mAP'] != tensors['coco/segm_mAP']


@pytest.mark.parametrize('order', [[2, 0, 1], [0, 1, 2]])
def test_labels_follow_the_classes_whatever_the_annotation_files_order(tmp_path, order):
    names = ['a', 'b', 'c']
    dataset = {'images': [{'id': 1, 'height': 50, 'width': 50}],
               'categories': [{'id': 10 - n, 'name': names[n]} for n in order],
               'annotations': [{'id': 1, 'image_id': 1, 'category_id': 10,
                                'bbox': [5., 5., 20., 20.], 'area': 400., 'iscrowd': 0}]}
    path = tmp_path / 'annotations.json'
    path.write_text(json.dumps(dataset))
    metric = CocoMetric(ann_file=str(path), classwise=True)
    metric.dataset_meta = {'classes': names}
    metric.process(None, [{'img_id': 1, 'ori_shape': (50, 50), 'pred_instances': {
        'bboxes': torch.tensor([[5., 5., 25., 25.]]), 'scores': torch.tensor([.9]),
        'labels': torch.tensor([0])}}])
    log = metric.evaluate(1)
    assert log['coco/a_precision'] == 1


def test_a_image_that_comes_twice_counts_once(case):
    samples = case.samples()
    assert case.run(CocoMetric, samples + samples[:3]) == case.run(CocoMetric, samples)


def test_proposal_fast_equals_mmdets_recall(case):
    # mmdet's own stops on images with different numbers of objects (numpy >= 1.24), so its
    # inner function is called with an array of objects
    from mmdet.evaluation.functional.bbox_overlaps import bbox_overlaps
    from mmdet.evaluation.functional.recall import _recalls
    ious = []
    for image in case.images:
        boxes = np.array([[x, y, x + w, y + h] for ann in case.dataset['annotations']
                          if ann['image_id'] == image['img_id'] and not ann['iscrowd']
                          and not ann.get('ignore') for x, y, w, h in [ann['bbox']]],
                         np.float32).reshape(-1, 4)
        ious.append(bbox_overlaps(boxes, image['bboxes']))
    table = np.empty(len(ious), object)
    table[:] = ious
    numbers = np.array([1, 5, 100])
    expected = _recalls(table, numbers, np.linspace(.5, .95, 10)).mean(1)
    log = case.run(CocoMetric, metric='proposal_fast', proposal_nums=[1, 5, 100])
    assert list(log) == ['coco/AR@1', 'coco/AR@5', 'coco/AR@100']
    np.testing.assert_allclose(list(log.values()), expected, atol=1e-6)
    assert 0 < expected[0] < expected[2]


def test_format_only_writes_what_mmdet_writes(case, tmp_path):
    for kind, name in ((Reference, 'theirs'), (CocoMetric, 'ours')):
        assert case.run(kind, metric=['bbox', 'segm'], format_only=True,
                        outfile_prefix=str(tmp_path / name)) == {}
    for kind in ('bbox', 'segm'):
        theirs, ours = (json.loads((tmp_path / f'{name}.{kind}.json').read_text())
                        for name in ('theirs', 'ours'))
        key = json.dumps
        assert sorted(map(lambda r: key(r, sort_keys=True), ours)) == sorted(
            map(lambda r: key(r, sort_keys=True), theirs))


def test_no_detection_gives_zero_and_a_warning(case, caplog):
    for image in case.images:
        image.update(bboxes=np.zeros((0, 4), np.float32), scores=np.zeros(0, np.float32),
                       labels=np.zeros(0, int), masks=[])
    log = case.run(CocoMetric, metric=['bbox', 'segm'])
    assert log['coco/bbox_mAP'] == log['coco/segm_mAP'] == 0


def test_configs_find_it_in_the_registry():
    assert METRICS.get('convnext_dense.CocoMetric') is CocoMetric is convnext_dense.CocoMetric


def broken(case, **changes):
    sample = case.samples()[0]
    pred = {'bboxes': torch.tensor([[1., 2., 30., 40.]]), 'scores': torch.tensor([.5]),
            'labels': torch.tensor([0]), 'masks': torch.zeros(1, HEIGHT, WIDTH).bool()}
    sample.update({key: changes.pop(key) for key in list(changes) if key in sample})
    pred.update(changes)
    sample['pred_instances'] = pred
    return sample


@pytest.mark.parametrize('changes,message', [
    ({'img_id': 999}, r'image 999 \(.*jpg\): not one of the 8 images of .*annotations.json'),
    ({'img_id': 'a12'}, r'image a12 \(.*jpg\): not one of the 8 images'),
    ({'img_id': 1.5}, 'image 1.5: ids are whole numbers or texts'),
    ({'ori_shape': (10, 20)}, 'is 20x10, but .*annotations.json says 150x120'),
    ({'scores': torch.tensor([float('nan')])}, 'detection 0 has score nan; expected finite'),
    ({'mask_scores': torch.tensor([float('inf')])}, 'detection 0 has mask score inf'),
    ({'bboxes': torch.tensor([[1., float('nan'), 3., 4.]])}, 'box .*nan.*; expected finite'),
    ({'bboxes': torch.tensor([[30., 2., 1., 40.]])}, 'right >= left and bottom >= top'),
    ({'labels': torch.tensor([4])}, r'label 4; expected in 0\.\.\.3'),
    ({'labels': torch.tensor([-1])}, r'label -1; expected in 0\.\.\.3'),
    ({'masks': torch.zeros(1, 20, 30).bool()}, 'is 150x120, but a mask is 30x20'),
    ({'masks': [{'size': [20, 30], 'counts': b''}]}, 'is 150x120, but a mask is 30x20'),
    ({'masks': torch.zeros(2, HEIGHT, WIDTH).bool()}, '1 boxes, 1 scores, 1 labels, 2 masks')])
def test_bad_detections_are_named_with_their_image(case, changes, message):
    metric = CocoMetric(ann_file=str(case.path))
    metric.dataset_meta = {'classes': case.classes}
    with pytest.raises(InputError, match=message) as error:
        metric.process(None, [broken(case, **changes)])
    assert '\n' not in str(error.value) and str(error.value).startswith('image ')


def test_boxes_without_area_and_outside_the_image_are_allowed(case):
    boxes = torch.tensor([[5., 5., 5., 5.], [-20., -20., 500., 500.]])
    case.run(CocoMetric, [broken(case, bboxes=boxes, scores=torch.tensor([.5, .4]),
                                 labels=torch.tensor([0, 1]),
                                 masks=torch.zeros(2, HEIGHT, WIDTH).bool())])


def test_classes_that_the_annotations_lack_are_named(case):
    case.classes = ['person', *case.classes]
    with pytest.raises(InputError, match=r"the classes \[person\] of the config are not in "
                                         '.*annotations.json, whose categories are'):
        case.run(CocoMetric)


def test_masks_asked_for_but_not_predicted(case):
    with pytest.raises(InputError, match="metric 'segm' is asked for, but .* no masks"):
        case.run(CocoMetric, case.samples(masks=None), metric=['bbox', 'segm'])


@pytest.mark.parametrize('options,message', [
    ({'metric': 'ap'}, "metric 'ap' is none of bbox, segm"),
    ({'metric_items': ['mAP_xl']}, "metric_items 'mAP_xl' is none of mAP"),
    ({'format_only': True}, 'format_only needs outfile_prefix'),
    ({'iou_thrs': []}, r'iou_thrs=\[\]; give thresholds above 0 and up to 1'),
    ({'iou_thrs': [50]}, r'iou_thrs=\[50\]'), ({'iou_thrs': ['.5']}, r"iou_thrs=\['.5'\]"),
    ({'proposal_nums': ()}, r'proposal_nums=\[\]; give numbers of detections from 1 on'),
    ({'proposal_nums': (0, 10)}, r'proposal_nums=\[0, 10\]'),
    ({'backend': 'cocoapi'}, "backend 'cocoapi' is none of"),
    ({'ann_file': 'nowhere.json'}, 'the annotation file nowhere.json does not exist')])
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        CocoMetric(**options)
