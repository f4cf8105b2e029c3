"""The images of a validation that a report shows."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from convnext_dense.analysis.run_report.drawing import draw_prediction, draw_truth, network_image
from convnext_dense.analysis.run_report.record import Record
from convnext_dense.analysis.run_report.validation import ValidationImages, chosen, truth_fits
from convnext_dense.analysis.run_report.worst import Worst, judge

NAMES = ('disc', 'ring')


def detection(boxes, labels, scores, true_boxes, true_labels, size=(100, 200), **meta):
    from mmdet.structures import DetDataSample
    sample = DetDataSample(metainfo=dict(ori_shape=size, img_path='a.png', **meta))
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.int64), scores=torch.tensor(scores))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor(true_boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(true_labels, dtype=torch.int64))
    return sample


def segmentation(found, truth, **meta):
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample
    sample = SegDataSample(metainfo=dict(ori_shape=np.shape(found), img_path='b.png', **meta))
    sample.pred_sem_seg = PixelData(data=torch.tensor(found)[None])
    sample.gt_sem_seg = PixelData(data=torch.tensor(truth)[None])
    return sample


@pytest.mark.parametrize('batches, count, found', [
    (100, 4, [0, 25, 50, 75]), (2, 4, [0, 1]), (5, 2, [0, 2]), (0, 4, []), (7, 0, [])])
def test_the_drawn_batches_are_spread_and_always_the_same(batches, count, found):
    assert chosen(batches, count) == found


@pytest.mark.parametrize('pipeline, fits', [
    (['LoadImageFromFile', 'Resize', 'LoadAnnotations', 'PackDetInputs'], True),
    (['LoadImageFromFile', 'LoadAnnotations', 'Resize', 'PackDetInputs'], False),
    (['LoadImageFromFile', 'convnext_dense.LoadAnnotations', 'PackSegInputs'], True),
    (['LoadImageFromFile', 'Resize', 'PackDetInputs'], False), ([], False)])
def test_truth_is_drawn_where_it_keeps_the_pixels_of_the_file(pipeline, fits):
    assert truth_fits([dict(type=kind) for kind in pipeline]) is fits


def test_the_networks_image_loses_its_padding_and_gets_the_files_shape():
    """A file of 400x200 pixels, half as large in the network, padded to 224x128."""
    pixels = torch.full((3, 128, 224), 114, dtype=torch.uint8)
    pixels[:, :100, :200] = 20
    sample = SimpleNamespace(ori_shape=(200, 400), scale_factor=(.5, .5))
    image = network_image(pixels, sample)
    assert image.shape == (200, 400, 3) and (image == 20).all()


def test_drawings_are_neither_tiny_nor_huge():
    for side, drawn in ((64, 320), (500, 500), (4000, 640)):
        sample = SimpleNamespace(ori_shape=(side, side // 2), scale_factor=64 / side)
        image = network_image(torch.zeros(3, 64, 32, dtype=torch.uint8), sample)
        assert image.shape == (drawn, drawn // 2, 3)


def test_boxes_are_drawn_where_they_lie_in_the_file():
    """A box in the right half of a file of 1280x640 pixels that is drawn half as large."""
    sample = detection([[800, 100, 1200, 500]], [1], [.9], [[10, 10, 300, 300]], [0],
                       size=(640, 1280))
    image = np.zeros((320, 640, 3), np.uint8)
    colours = [(0, 255, 0), (255, 0, 0)]
    found = draw_prediction(image, sample, NAMES, colours, .3)
    rows, columns = np.nonzero((found == (255, 0, 0)).all(-1))
    assert 398 <= columns.min() <= 400 and 599 <= columns.max() <= 601 and rows.max() >= 249
    truth = draw_truth(image, sample, NAMES, colours)
    assert (truth[:, 320:] == 0).all() and (truth == (0, 255, 0)).all(-1).any()
    assert (draw_prediction(image, sample, NAMES, colours, .95) == 0).all()
    assert (image == 0).all()


def test_a_label_map_is_drawn_at_the_images_size():
    sample = segmentation([[0, 1], [1, 1]], [[0, 0], [1, 255]])
    image = np.zeros((320, 320, 3), np.uint8)
    found = draw_prediction(image, sample, NAMES, [(0, 200, 0), (200, 0, 0)], .3)
    assert found[10, 10, 1] and not found[10, 10, 0] and found[300, 10, 0]
    truth = draw_truth(image, sample, NAMES, [(0, 200, 0), (200, 0, 0)])
    assert (truth[310, 310] == 0).all()  # ignored
    sample = segmentation([[0, 1]], [[-100, 1]])
    truth = draw_truth(image, sample, NAMES, [(0, 200, 0), (200, 0, 0)])
    assert (truth[10, 10] == 0).all() and (truth[10, 310] != 0).any()


def test_missed_and_wrong_objects_cost_what_they_show():
    box, other = [10, 10, 50, 50], [100, 20, 180, 90]
    right = detection([box], [0], [.9], [box], [0])
    assert judge(right, NAMES) is None
    missed = judge(detection([], [], [], [box, other], [0, 1]), NAMES)
    assert missed.cost == 2 and missed.text == '2 missed'
    wrong = judge(detection([box, other], [0, 0], [.9, .5], [box], [0]), NAMES)
    assert wrong.cost == pytest.approx(.5) and wrong.text == '1 false'
    assert wrong.errors[0]['category'] == 'disc' and wrong.errors[0]['bbox'] == [100, 20, 80, 70]
    assert judge(detection([other], [0], [.2], [], []), NAMES) is None  # a score that is not shown


def test_a_crowd_is_neither_missed_nor_makes_a_detection_wrong():
    crowd = [0, 0, 100, 100]
    sample = detection([[10, 10, 50, 50]], [0], [.9], [], [])
    assert judge(sample, NAMES).text == '1 false'
    sample.ignored_instances = InstanceData(bboxes=torch.tensor([crowd], dtype=torch.float32),
                                            labels=torch.tensor([0]))
    assert judge(sample, NAMES) is None


def test_the_share_of_wrong_pixels_leaves_out_ignored_ones():
    sample = segmentation([[0, 1], [1, 0]], [[0, 0], [1, 255]])
    assert judge(sample, NAMES).text == '33.3 % of the pixels wrong'
    assert judge(sample, NAMES, ignore_index=7).cost == .5
    assert judge(segmentation([[0, 1]], [[0, 1]]), NAMES) is None


def test_only_images_that_are_kept_are_drawn():
    worst, drawn = Worst(2), []
    for name, cost in (('a', 1.), ('b', 3.), ('c', .5), ('d', 2.), ('e', 0.)):
        mistakes = SimpleNamespace(cost=cost, text=f'{cost}') if cost else None
        worst.add(name, mistakes, lambda name=name: drawn.append(name) or name.upper())
    assert worst.found() == [('b', '3.0', 'B'), ('d', '2.0', 'D')]
    assert drawn == ['a', 'b', 'd'] and worst.seen == 5


def looked_at(tmp_path, sample, pipeline):
    dataset = SimpleNamespace(metainfo=dict(classes=NAMES))
    cfg = dict(val_dataloader=dict(dataset=dict(pipeline=[dict(type=kind) for kind in pipeline])))
    images = ValidationImages(dataset, cfg, 3, .3, [0])
    images.look(0, dict(inputs=[torch.zeros(3, 100, 200, dtype=torch.uint8)]), [sample])
    return images.write(Record(tmp_path, 'run<1>'), 40)


def test_drawings_are_written_beside_the_record(tmp_path):
    sample = detection([[10, 10, 50, 50]], [0], [.9], [[90, 10, 150, 50]], [1],
                       scale_factor=(1., 1.))
    line = looked_at(tmp_path, sample, ['LoadImageFromFile', 'LoadAnnotations'])
    assert line['samples'] == [dict(name='a.png', file='report/images/run1_0000040_0.jpg',
                                    truth='report/images/run1_truth_0.jpg')]
    assert line['worst'] == [dict(name='a.png', text='1 missed, 1 false',
                                  file='report/images/run1_worst_0.jpg')]
    assert line['scored'] == 1 and line['seconds'] >= 0
    for entry in (*line['samples'], *line['worst']):
        assert cv2.imread(str(tmp_path / entry['file'])).shape[1] >= 320


def test_annotations_that_were_resized_are_left_out(tmp_path):
    sample = detection([], [], [], [[90, 10, 150, 50]], [1], scale_factor=(.5, .5))
    line = looked_at(tmp_path, sample, ['LoadAnnotations', 'Resize'])
    assert line['samples'][0]['truth'] is None and line['worst'] == []


def test_models_of_another_kind_have_no_drawings(tmp_path):
    images = ValidationImages(SimpleNamespace(metainfo=dict(classes=NAMES)), {}, 3, .3, [0])
    images.look(0, dict(inputs=torch.zeros(2, 3, 8, 8)), [torch.zeros(1), torch.zeros(1)])
    images.look(1, [torch.zeros(2)], [object()])
    assert images.write(Record(tmp_path, 'run'), 1)['samples'] == []
