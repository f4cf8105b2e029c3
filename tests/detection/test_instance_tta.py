"""InstanceTTAModel merges boxes as mmdet's DetTTAModel does, and masks with them."""
import numpy as np
import pytest
import torch
from mmdet.models.test_time_augs import DetTTAModel
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from convnext_dense.detection import InstanceTTAModel

H, W = 40, 60


class Detector(BaseModel):
    """Finds in a view what it is handed, and remembers what it was told of flips."""

    def __init__(self):
        super().__init__()
        self.told = []

    def test_step(self, data):
        self.told += [(sample.flip, sample.flip_direction) for sample in data['data_samples']]
        return data['data_samples']

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return data_samples


def tta_model(**kwargs):
    return InstanceTTAModel(module=Detector(), **kwargs)


def view(instances, flip=None):
    return DetDataSample(
        pred_instances=instances,
        metainfo=dict(ori_shape=(H, W), view_flip=flip,
                      flip=flip is not None, flip_direction=flip))


def random_instances(generator, count, masks=False):
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([W / 2, H / 2])
    size = torch.rand(count, 2, generator=generator) * torch.tensor([W / 2, H / 2])
    found = InstanceData(
        bboxes=torch.cat([corner, corner + size], dim=1),
        scores=torch.rand(count, generator=generator),
        labels=torch.randint(0, 3, (count, ), generator=generator))
    if masks:
        found.masks = torch.zeros(count, H, W, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(found.masks, found.bboxes.round().int().tolist()):
            mask[y1:y2, x1:x2] = True
    return found


@pytest.mark.parametrize('limit', [5, 100])
def test_boxes_equal_those_of_mmdet(limit):
    generator = torch.Generator().manual_seed(0)
    views = [view(random_instances(generator, 30), flip)
             for flip in (None, 'horizontal', 'vertical', 'diagonal')]
    peer = DetTTAModel(module=Detector(), tta_cfg=ConfigDict(
        nms=dict(type='nms', iou_threshold=0.4), max_per_img=limit))
    expected = peer.merge_preds([[v.clone() for v in views]])[0].pred_instances
    merged = tta_model(nms=dict(type='nms', iou_threshold=0.4), max_per_img=limit) \
        .merge_preds([views])[0].pred_instances
    assert 0 < len(merged) <= limit
    for field in ('bboxes', 'scores', 'labels'):
        assert torch.equal(merged[field], expected[field]), field


@pytest.mark.parametrize('flip, axes', [('horizontal', [-1]), ('vertical', [-2]),
                                        ('diagonal', [-1, -2])])
def test_masks_are_flipped_back_with_their_boxes(flip, axes):
    truth = random_instances(torch.Generator().manual_seed(1), 1, masks=True)
    flipped = InstanceData(**dict(truth.items()))
    flipped.masks = truth.masks.flip(axes)
    rows, columns = np.nonzero(flipped.masks[0].numpy())
    flipped.bboxes = torch.tensor([[columns.min(), rows.min(), columns.max() + 1,
                                    rows.max() + 1]]).float()
    merged = tta_model().merge_preds([[view(flipped, flip)]])[0].pred_instances
    assert torch.equal(merged.masks, truth.masks)
    assert torch.equal(merged.bboxes, truth.bboxes.round())


def test_a_kept_instance_keeps_its_own_mask():
    """Of the same object seen in two views the better one stays, whole."""
    def seen(score, filled):
        mask = torch.zeros(1, H, W, dtype=torch.bool)
        mask[:, 10:20, 10:filled] = True
        return InstanceData(bboxes=torch.tensor([[10., 10., 30., 20.]]), masks=mask,
                            scores=torch.tensor([score]), labels=torch.tensor([1]))
    merged = tta_model().merge_preds([[view(seen(.3, 12)), view(seen(.9, 25))]])
    instances = merged[0].pred_instances
    assert len(instances) == 1 and instances.scores.item() == pytest.approx(.9)
    assert instances.masks.sum() == 150


def test_views_without_instances_stay_empty():
    empty = random_instances(torch.Generator().manual_seed(0), 0, masks=True)
    merged = tta_model().merge_preds([[view(empty), view(empty, 'horizontal')]])
    assert len(merged[0].pred_instances) == 0


def test_one_prediction_for_each_image():
    generator = torch.Generator().manual_seed(2)
    images = [[view(random_instances(generator, 3, masks=True)) for _ in range(2)]
                for _ in range(3)]
    assert len(tta_model().merge_preds(images)) == 3


def test_the_detector_does_not_know_that_its_image_is_flipped():
    """mmdet's cascade would flip the masks of such an image, and not their boxes."""
    truth = random_instances(torch.Generator().manual_seed(3), 1, masks=True)
    flipped = truth.clone()
    flipped.masks = truth.masks.flip(-1)
    flipped.bboxes = torch.stack([W - truth.bboxes[:, 2], truth.bboxes[:, 1],
                                  W - truth.bboxes[:, 0], truth.bboxes[:, 3]], dim=1)
    views = [[view(flipped, 'horizontal')], [view(truth)]]
    for sample in (sample for batch in views for sample in batch):
        del sample.view_flip
    model = tta_model()
    merged, = model.test_step(dict(inputs=[[None], [None]], data_samples=views))
    assert model.module.told == [(False, None), (False, None)]
    assert len(merged.pred_instances) == 1
    assert torch.equal(merged.pred_instances.masks, truth.masks)
