"""Mask2Former's results, made a few queries at a time, against mmdet's."""
import pytest
import torch
import torch.nn.functional as F
from mmdet.models.seg_heads import MaskFormerFusionHead as MMDetMaskFormerFusionHead
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict

from convnext_dense.detection import mask2former
from convnext_dense.detection.mask2former import MaskFormerFusionHead

THINGS, STUFF, QUERIES = 3, 2, 12
BATCH = (64, 96)


def heads(**test_cfg):
    cfg = ConfigDict(dict(panoptic_on=True, instance_on=True, semantic_on=False,
                          max_per_image=20, iou_thr=.8, filter_low_score=True), **test_cfg)
    return [head(THINGS, STUFF, test_cfg=cfg)
            for head in (MaskFormerFusionHead, MMDetMaskFormerFusionHead)]


def outputs(sure=6.):
    """Logits of smooth masks, and classes of which most are sure; two queries are nothing."""
    torch.manual_seed(0)
    masks = torch.randn(2, QUERIES, 16, 24) - 3.
    for query, mask in enumerate(masks.transpose(0, 1)):  # patches that overlap a little
        top, left = query // 4 * 5, query % 4 * 6
        mask[:, top:top + 6, left:left + 7] += 6.
    masks[0, 3] = -1.  # nowhere
    scores = torch.randn(2, QUERIES, THINGS + STUFF + 1)
    classes = torch.randint(0, THINGS + STUFF, (2, QUERIES, 1))
    classes[:, :2] = THINGS + STUFF
    return scores.scatter_add(2, classes, torch.full(classes.shape, sure)), masks


def samples(original=(75, 110)):
    meta = dict(batch_input_shape=BATCH, img_shape=(60, 90), ori_shape=original)
    return [DetDataSample(metainfo=meta) for _ in range(2)]


def both(scores, masks, original=(75, 110), rescale=True, **test_cfg):
    """The results of ours and of mmdet, which gets masks in the batch's size."""
    ours, theirs = heads(**test_cfg)
    enlarged = F.interpolate(masks, BATCH, mode='bilinear', align_corners=False)
    return zip(ours.predict(scores, masks, samples(original), rescale=rescale),
               theirs.predict(scores, enlarged, samples(original), rescale=rescale), strict=True)


@pytest.mark.parametrize('chunk', [2**20, 20000], ids=['whole', 'chunks'])
@pytest.mark.parametrize('options', [
    dict(), dict(rescale=False), dict(filter_low_score=False), dict(iou_thr=.3),
    dict(object_mask_thr=.3), dict(max_per_image=3), dict(original=(60, 90))], ids=str)
def test_instances_and_panoptic_maps_are_mmdets(options, chunk, monkeypatch):
    monkeypatch.setattr(mask2former, 'CHUNK', chunk)
    segments = 0
    for ours, theirs in both(*outputs(), **options):
        found, expected = ours['ins_results'], theirs['ins_results']
        assert sorted(found.keys()) == sorted(expected.keys()) and len(found) == len(expected) > 0
        for name in ('labels', 'bboxes', 'masks'):
            assert torch.equal(found[name], expected[name]), name
            assert found[name].dtype == expected[name].dtype
        torch.testing.assert_close(found.scores, expected.scores)
        found, expected = (result['pan_results'].sem_seg for result in (ours, theirs))
        assert torch.equal(found, expected) and found.dtype == expected.dtype
        segments += len(expected.unique())
    assert segments > 4


@pytest.mark.parametrize('max_per_image', [20, 3, 0])
def test_a_head_that_crops_gives_the_same_masks(max_per_image):
    scores, masks = outputs()
    head, _ = heads(max_per_image=max_per_image)
    whole = head.predict(scores, masks, samples(), rescale=True)
    head.cropped = True
    for ours, expected in zip(head.predict(scores, masks, samples(), rescale=True), whole):
        found, expected = ours['ins_results'], expected['ins_results']
        assert torch.equal(found.bboxes, expected.bboxes)
        assert torch.equal(found.scores, expected.scores)
        assert len(found.masks) == len(found) == len(expected)
        for (left, top, crop), mask in zip(found.masks, expected.masks.numpy()):
            height, width = crop.shape
            assert (mask[top:top + height, left:left + width] == crop).all()
            assert mask.sum() == crop.sum()


def test_masks_may_have_the_size_of_the_batch_already():
    scores, masks = outputs()
    masks = F.interpolate(masks, BATCH, mode='bilinear', align_corners=False)
    for ours, theirs in both(scores, masks):
        assert torch.equal(ours['ins_results'].masks, theirs['ins_results'].masks)
        assert torch.equal(ours['pan_results'].sem_seg, theirs['pan_results'].sem_seg)


def test_without_a_sure_query_the_panoptic_map_is_empty():
    for ours, theirs in both(*outputs(sure=-6.), object_mask_thr=1.):
        assert torch.equal(ours['pan_results'].sem_seg, theirs['pan_results'].sem_seg)
        assert (ours['pan_results'].sem_seg == THINGS + STUFF).all()


def test_without_things_there_are_no_instances():
    scores, masks = outputs()
    scores[..., :THINGS] = -100.
    for ours, theirs in both(scores, masks, max_per_image=3):
        assert len(theirs['ins_results']) == 0
        for name, value in theirs['ins_results'].items():
            assert ours['ins_results'][name].shape == value.shape


def test_only_what_is_wanted_is_given():
    for ours, _ in both(*outputs(), panoptic_on=False):
        assert list(ours) == ['ins_results']
    for ours, _ in both(*outputs(), instance_on=False):
        assert list(ours) == ['pan_results']
