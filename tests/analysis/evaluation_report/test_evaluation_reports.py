"""The files of a report, as docs/evaluation.md describes them."""
import json

import cv2
import numpy as np
import pytest
import torch
from evaluation.random_coco import HEIGHT, WIDTH, random_dataset, random_images
from mmengine.logging import MMLogger
from pycocotools import mask as rle

from convnext_dense.analysis.evaluation_report.detection import (
    COLORS,
    HEADER,
    SIDE,
    WORST,
    draw_errors,
)
from convnext_dense.analysis.evaluation_report.json_files import plain
from convnext_dense.evaluation import CocoMetric, IoUMetric
from convnext_dense.evaluation.coco_metric import report_folder


@pytest.fixture(scope='module')
def detection(tmp_path_factory):
    folder = tmp_path_factory.mktemp('detection')
    rng = np.random.default_rng(4)
    dataset = random_dataset(rng, 25, 4, 8)
    (folder / 'instances.json').write_text(json.dumps(dataset))
    metric = CocoMetric(ann_file=str(folder / 'instances.json'), metric=['bbox', 'segm'],
                        report=True, report_dir=str(folder / 'report'))
    metric.dataset_meta = {'classes': [category['name'] for category in dataset['categories']]}
    for image in random_images(rng, dataset, 30):
        path = folder / f'{image["img_id"]}.png'
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
        metric.process(None, [{
            'img_id': image['img_id'], 'ori_shape': image['size'], 'img_path': str(path),
            'pred_instances': {name: torch.from_numpy(np.array(image[name]))
                               for name in ('bboxes', 'scores', 'labels')}
            | {'masks': image['masks']}}])
    log = metric.evaluate(25)
    return dataset, log, folder / 'report'


def test_detection_summary(detection):
    dataset, log, folder = detection
    summary = json.loads((folder / 'detection.json').read_text())
    assert summary['format'] == 'convnext_dense.detection/1'
    assert summary['annotations'].endswith('instances.json')
    assert summary['image_ids'] == sorted(image['id'] for image in dataset['images'])
    assert summary['categories'] == dataset['categories']
    assert summary['max_detections'] == [100, 300, 1000]
    for kind in ('bbox', 'segm'):
        evaluation = summary['evaluations'][kind]
        assert len(evaluation['figures']) == 12
        assert round(evaluation['figures']['mAP'], 3) == log[f'coco/{kind}_mAP']
        known = [row['AP'] for row in evaluation['classes'] if row['AP'] is not None]
        assert np.mean(known) == pytest.approx(evaluation['figures']['mAP'], abs=1e-12)
        objects = sum(1 for ann in dataset['annotations'] if not ann['iscrowd'])
        assert sum(row['annotations'] for row in evaluation['classes']) == objects
        # every object is in one cell, every detection above the score in at most one
        matrix = np.array(evaluation['confusion']['matrix'])
        assert matrix.shape == (5, 5) and matrix[:-1].sum() == objects
    assert any(row['AP'] is None for row in evaluation['classes'])  # no annotations


def test_saved_detections_give_the_same_figures(detection):
    import io
    from contextlib import redirect_stdout

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    dataset, _, folder = detection
    summary = json.loads((folder / 'detection.json').read_text())
    for kind in ('bbox', 'segm'):
        evaluation = summary['evaluations'][kind]
        records = json.loads((folder / evaluation['detections']).read_text())
        for record in records:
            if kind == 'segm':
                del record['bbox']
        with redirect_stdout(io.StringIO()):
            truth = COCO(summary['annotations'])
            evaluator = COCOeval(truth, truth.loadRes(records), kind)
            evaluator.params.maxDets = [100, 300, 1000]
            evaluator.evaluate(), evaluator.accumulate(), evaluator.summarize()
        np.testing.assert_allclose(list(evaluation['figures'].values()), evaluator.stats,
                                   rtol=0, atol=1e-12)


def test_worst_images_are_named_and_drawn(detection):
    _, _, folder = detection
    worst = json.loads((folder / 'detection.json').read_text())['worst']
    assert len(worst) == WORST
    costs = [image['cost'] for image in worst]
    assert costs == sorted(costs, reverse=True) and costs[-1] > 0
    for image in worst:
        assert sum(image['counts'].values()) == len(image['errors'])
        assert set(image['counts']) <= set(COLORS)
    drawn = sorted(path.name for path in (folder / 'worst').iterdir())
    assert drawn == [f'{rank:02}_{image["image_id"]}.jpg'
                     for rank, image in enumerate(worst, 1)]
    canvas = cv2.imread(str(folder / 'worst' / drawn[0]))
    assert canvas.shape == (round(SIDE / WIDTH * HEIGHT) + HEADER, SIDE, 3)
    assert canvas.std() > 10


def test_errors_are_drawn_where_they_are_and_their_labels_do_not_hide_one_another():
    errors = [{'error': name, 'category': 'dog', 'bbox': [40., 30., 40., 40.]}
              for name in ('missed', 'missed', 'mask')]
    drawn = draw_errors(np.full((120, 150, 3), 90, np.uint8), errors, {'missed': 2, 'mask': 1})
    assert drawn.shape == (768 + HEADER, SIDE, 3)
    scale = SIDE / 150
    for name, labels in (('missed', 2), ('mask', 1)):
        rows, columns = np.nonzero((drawn[HEADER:] == COLORS[name]).all(2))
        assert columns.min() == pytest.approx(40 * scale, abs=2)
        assert rows.max() == pytest.approx(70 * scale, abs=2) or name == 'mask'
        # a label is filled: many pixels of its colour in a row
        filled = ((drawn[HEADER:] == COLORS[name]).all(2)[:, int(42 * scale):][:, :60].sum(1) > 20)
        assert filled.sum() >= 8 * labels


def test_curves_and_confusions_are_images(detection):
    _, _, folder = detection
    for name in ('pr_curves', 'confusion_matrix'):
        for kind in ('bbox', 'segm'):
            image = cv2.imread(str(folder / f'{name}.{kind}.png'))
            assert min(image.shape[:2]) > 300 and image.std() > 5


def test_without_an_annotation_file_the_ground_truth_is_kept(tmp_path):
    metric = CocoMetric(report=True, report_dir=str(tmp_path), metric=['bbox', 'segm'])
    metric.dataset_meta = {'classes': ['thing']}
    mask = np.zeros((20, 20), np.uint8, order='F')
    mask[2:9, 2:9] = 1
    metric.process(None, [{
        'img_id': 5, 'ori_shape': (20, 20), 'instances': [
            {'bbox': [2., 2., 9., 9.], 'bbox_label': 0, 'ignore_flag': 0,
             'mask': rle.encode(mask)}],
        'pred_instances': {'bboxes': torch.tensor([[2., 2., 9., 9.]]), 'labels': torch.tensor([0]),
                           'scores': torch.tensor([.9]), 'masks': torch.tensor(mask)[None]}}])
    metric.evaluate(1)
    summary = json.loads((tmp_path / 'detection.json').read_text())
    assert summary['annotations'] == 'annotations.json' and summary['worst'] == []
    kept = json.loads((tmp_path / 'annotations.json').read_text())
    assert [ann['bbox'] for ann in kept['annotations']] == [[2, 2, 7, 7]]
    assert kept['images'][0]['id'] == 5


@pytest.fixture(scope='module')
def segmentation(tmp_path_factory):
    folder = tmp_path_factory.mktemp('segmentation')
    rng = np.random.default_rng(0)
    metric = IoUMetric(boundary=True, report=True, report_dir=str(folder))
    metric.dataset_meta = {'classes': ('wall', 'door', 'sky', 'never')}
    for number in range(23):
        label = np.kron(rng.integers(0, 3, (3, 4)), np.ones((10, 10), int))
        wrong = rng.random(label.shape) < number / 30
        prediction = np.where(wrong, rng.integers(0, 3, label.shape), label)
        label[:, 0] = 255
        metric.process(None, [{'pred_sem_seg': {'data': torch.from_numpy(prediction)[None]},
                               'gt_sem_seg': {'data': torch.from_numpy(label)[None]},
                               'img_path': f'/data/validation/{number:02}.jpg'}])
    return metric.evaluate(23), json.loads((folder / 'segmentation.json').read_text()), folder


def test_segmentation_summary(segmentation):
    log, summary, folder = segmentation
    assert summary['format'] == 'convnext_dense.segmentation/1'
    assert summary['classes'] == ['wall', 'door', 'sky', 'never']
    assert {name: round(100 * value, 2) for name, value in summary['figures'].items()} == log
    assert [row['name'] for row in summary['per_class']] == summary['classes']
    assert summary['per_class'][3]['IoU'] is None
    assert np.array(summary['confusion']).sum() == 23 * 30 * 39
    assert cv2.imread(str(folder / 'confusion_matrix.png')).std() > 5


def test_counts_of_the_images_add_up_to_the_figures(segmentation):
    _, summary, _ = segmentation
    assert [image['name'] for image in summary['images']] == [
        f'{number:02}.jpg' for number in range(23)]
    sums = {}
    for name in ('intersection', 'prediction', 'label', 'boundary_intersection',
                 'boundary_prediction', 'boundary_label'):
        sums[name] = np.zeros(4)
        for image in summary['images']:
            np.add.at(sums[name], image['classes'], image[name])
    for prefix, figure in (('', 'IoU'), ('boundary_', 'BoundaryIoU')):
        both = sums[prefix + 'intersection'][:3]
        union = sums[prefix + 'prediction'][:3] + sums[prefix + 'label'][:3] - both
        assert (both / union).tolist() == [row[figure] for row in summary['per_class'][:3]]
    assert [row['intersection'] for row in summary['per_class']] == sums['intersection'].tolist()


def test_worst_segmentations_name_their_confusions(segmentation):
    _, summary, _ = segmentation
    worst = summary['worst']
    assert len(worst) == WORST and worst[0]['name'] in ('22.jpg', '21.jpg', '20.jpg')
    assert [entry['IoU'] for entry in worst] == sorted(entry['IoU'] for entry in worst)
    for entry in worst:
        pixels = [error['pixels'] for error in entry['errors']]
        assert pixels == sorted(pixels, reverse=True)
        assert all(error['label'] != error['prediction'] for error in entry['errors'])


def test_a_report_lies_beside_the_log(tmp_path):
    (tmp_path / 'run').mkdir()
    logger = MMLogger('report', log_file=str(tmp_path / 'run' / 'run.log'))
    assert report_folder(None, logger) == tmp_path / 'run' / 'evaluation'
    assert report_folder(tmp_path / 'mine', logger) == tmp_path / 'mine'


def test_json_has_no_nan():
    value = {'a': [np.float32('nan'), np.int64(3), b'x', (1., float('nan'))], 'b': np.arange(2)}
    assert plain(value) == {'a': [None, 3, 'x', [1., None]], 'b': [0, 1]}
