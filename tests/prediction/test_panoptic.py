"""Results of a panoptic segmenter: each thing on its own, stuff, and what is neither."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData

from convnext_dense.datasets.panoptic import segment_ids
from convnext_dense.errors import InputError
from convnext_dense.prediction import Panoptic, Predictor
from convnext_dense.prediction.model_files import ModelFiles
from convnext_dense.prediction.sources import Frame
from convnext_dense.prediction.writing import CsvFile, LabelImages

NAMES = ('cat', 'dog', 'sky')
#: mmdet's numbers: two cats, sky, and 3, which is no class
FOUND = np.array([[1000, 1000, 3], [2000, 2, 2], [2000, 2, 2]])


class Model(torch.nn.Module):
    """As mmdet's Mask2Former, but with one answer."""

    def __init__(self):
        super().__init__()
        self.panoptic_fusion_head = torch.nn.Module()
        self.panoptic_fusion_head.test_cfg = dict(panoptic_on=True)

    def test_step(self, data):
        samples = data['data_samples']
        for sample in samples:
            sample.pred_panoptic_seg = PixelData(sem_seg=torch.from_numpy(FOUND)[None].int())
        return samples


@pytest.fixture
def predictor():
    pipeline = [dict(type='LoadImageFromFile'),
                dict(type='convnext_dense.LoadPanopticAnnotations'),
                dict(type='PackDetInputs', meta_keys=('ori_shape', 'img_shape'))]
    cfg = Config(dict(default_scope='mmdet', model=dict(type='Mask2Former'),
                      test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    return Predictor.of_model(ModelFiles(cfg, {}, 'model', NAMES, None), Model())


@pytest.fixture
def result(predictor):
    return predictor(np.zeros((3, 3, 3), np.uint8))


def test_labels_and_segments_are_what_the_model_said(predictor, result):
    assert isinstance(result, Panoptic) and predictor.task == 'labels'
    assert result.labels.tolist() == [[0, 0, 3], [0, 2, 2], [0, 2, 2]]
    assert result.segments.tolist() == [[1001, 1001, 0], [2001, 3, 3], [2001, 3, 3]]
    assert result.numbers() == [3, 1001, 2001]
    assert [result.label_of(number) for number in result.numbers()] == [2, 0, 0]
    assert result.pixels.tolist() == [4, 0, 4] and result.class_names == ['cat', 'sky']


def test_every_segment_is_an_annotation_and_a_detection(result):
    annotations = result.to_coco(image_id=5)
    assert [(one['category_id'], one['bbox'], one['area']) for one in annotations] == [
        (3, [1, 1, 2, 2], 4), (1, [0, 0, 2, 1], 2), (1, [0, 1, 1, 2], 2)]
    pytest.importorskip('supervision')
    found = result.to_supervision()
    assert found.class_id.tolist() == [2, 0, 0]
    assert found.mask.sum((1, 2)).tolist() == [4, 2, 2]


def test_files_hold_labels_colours_and_segments(result, tmp_path):
    frame = Frame(SimpleNamespace(name='a.jpg', stem='a'))
    LabelImages(tmp_path).prepare(frame, result)
    stored = cv2.imread(str(tmp_path / 'segments/a.png'))[..., ::-1]
    assert np.array_equal(segment_ids(stored), result.segments)
    colours = cv2.imread(str(tmp_path / 'colours/a.png'))
    assert colours[0, 2].tolist() == [0, 0, 0] and colours[0, 0].any()
    table = CsvFile(tmp_path)
    assert [row[1:3] for row in table.prepare(frame, result)[1]] == [['cat', 4], ['sky', 4]]
    table.close()


def test_things_of_one_class_are_told_apart_in_the_drawing():
    labels = np.zeros((40, 40), np.uint8)
    segments = np.where(np.arange(40) < 20, 1001, 2001)[None].repeat(40, 0).astype(np.int32)
    drawn = Panoptic(np.zeros((40, 40, 3), np.uint8), None, NAMES, None, labels, segments).plot()
    assert (drawn[:, 20] == 255).all() and not (drawn[:, 5] == 255).all()


def test_tiles_are_refused(predictor):
    predictor.tile = 2
    with pytest.raises(InputError, match=r'leave --tile \(tile\) out'):
        predictor(np.zeros((3, 3, 3), np.uint8))
