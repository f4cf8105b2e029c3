"""mmdet's Mask2Former, whose masks are brought to the image's size a few queries at a time.

mmdet brings the masks of all queries to the size of the batch and to that of the image, and makes
several more maps of that size of each. Here a few queries go through all of it together, those
alone of which a result is made, so that their maps stay in the cache.
"""
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.detectors import Mask2Former as MMDetMask2Former
from mmdet.models.seg_heads import MaskFormerFusionHead as MMDetMaskFormerFusionHead
from mmdet.structures import INSTANCE_OFFSET
from mmdet.structures.mask import mask2bbox
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from convnext_dense.registry import MODELS

#: pixels of the masks that are enlarged at a time
CHUNK = 2**20


@MODELS.register_module()
class Mask2Former(MMDetMask2Former):
    """``mmdet.Mask2Former`` with the same arguments and results.

    With :class:`MaskFormerFusionHead` it leaves the enlarging of masks to that.
    """

    def predict(self, batch_inputs: Tensor, batch_data_samples: list, rescale: bool = True) -> list:
        """Instances and panoptic maps, see mmdet."""
        if not isinstance(self.panoptic_fusion_head, MaskFormerFusionHead):
            return super().predict(batch_inputs, batch_data_samples, rescale)
        features = self.extract_feat(batch_inputs)
        scores, masks = self.panoptic_head(features, batch_data_samples)
        results = self.panoptic_fusion_head.predict(
            scores[-1], masks[-1], batch_data_samples, rescale=rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)


@MODELS.register_module()
class MaskFormerFusionHead(MMDetMaskFormerFusionHead):
    """``mmdet.MaskFormerFusionHead`` with the same arguments and results.

    Attributes:
        cropped (bool): the masks of an image's instances are a list of left, top and the mask from
            there on, a bool array of shape (h, w), instead of a tensor of the image's size for
            each.
    """
    cropped = False

    def predict(self, mask_cls_results: Tensor, mask_pred_results: Tensor,
                batch_data_samples: list, rescale: bool = False, **kwargs: Any) -> list[dict]:
        """Instances and panoptic maps of images.

        Args:
            mask_cls_results (Tensor): logits of the classes, the last of which is no object,
                (N, queries, classes + 1).
            mask_pred_results (Tensor): logits of the masks in any size, (N, queries, h, w); they
                are brought to the batch's first.
            batch_data_samples (list[DetDataSample]): with the meta data of the images.
            rescale (bool): give results in the images' original size.

        Returns:
            list[dict]: with ``pan_results`` and ``ins_results``, as far as ``test_cfg`` wants them.
        """
        if self.test_cfg.get('semantic_on', False):
            return super().predict(mask_cls_results, mask_pred_results, batch_data_samples,
                                   rescale, **kwargs)
        results = []
        for scores, masks, sample in zip(mask_cls_results, mask_pred_results, batch_data_samples):
            enlarged = _EnlargedMasks(masks, sample.metainfo, rescale)
            result = {}
            if self.test_cfg.get('panoptic_on', True):
                result['pan_results'] = self._panoptic(scores, enlarged)
            if self.test_cfg.get('instance_on', False):
                result['ins_results'] = self._instances(scores, enlarged)
            results.append(result)
        return results

    def _panoptic(self, class_logits, masks):
        scores, labels = class_logits.softmax(-1).max(-1)
        keep = labels.ne(self.num_classes) & (scores > self.test_cfg.get('object_mask_thr', 0.8))
        scores, labels, queries = scores[keep], labels[keep], keep.nonzero().squeeze(1)
        # of the query with the highest score at each pixel: this score, its number, its mask
        best = scores.new_full(masks.size, -1.)
        winner = labels.new_zeros(masks.size)
        probability = scores.new_zeros(masks.size)
        areas = labels.new_zeros(len(labels))
        for part, logits in masks.chunks(queries):
            of_part = logits.sigmoid()
            areas[part] = (of_part >= .5).flatten(1).sum(1)
            highest, number = (scores[part, None, None] * of_part).max(0)
            better = highest > best
            best = torch.where(better, highest, best)
            winner = torch.where(better, number + part.start, winner)
            probability = torch.where(better, of_part.gather(0, number[None])[0], probability)
        won = winner.flatten().bincount(minlength=len(labels))
        segments = self._segments(labels.tolist(), won.tolist(), areas.tolist())
        found = torch.tensor([*segments, self.num_classes], dtype=torch.int32,
                             device=labels.device)[winner]
        if self.test_cfg.get('filter_low_score', False):
            found.masked_fill_(probability < .5, self.num_classes)
        return PixelData(sem_seg=found[None])

    def _segments(self, labels, won, areas):
        """The value of each query's segment in the panoptic map."""
        least, instance, values = self.test_cfg.get('iou_thr', 0.8), 1, []
        for label, pixels, area in zip(labels, won, areas):
            if not pixels or not area or pixels / area < least:
                values.append(self.num_classes)
            elif label < self.num_things_classes:
                values.append(label + instance * INSTANCE_OFFSET)
                instance += 1
            else:
                values.append(label)
        return values

    def _instances(self, class_logits, masks):
        scores, places = class_logits.softmax(-1)[:, :-1].flatten().topk(
            self.test_cfg.get('max_per_image', 100), sorted=False)
        labels = places % self.num_classes
        things = labels < self.num_things_classes
        scores, labels = scores[things], labels[things]
        # several classes of one query share its mask
        queries, of_instance = (places[things] // self.num_classes).unique(return_inverse=True)
        boxes, certainty = scores.new_zeros(len(queries), 4), scores.new_zeros(len(queries))
        crops: list = []
        whole = None if self.cropped else torch.empty(
            len(queries), *masks.size, dtype=torch.bool, device=scores.device)
        for part, logits in masks.chunks(queries):
            binary = torch.gt(logits, 0, out=None if whole is None else whole[part])
            boxes[part] = mask2bbox(binary)
            area = binary.flatten(1).sum(1)
            certainty[part] = logits.sigmoid().mul_(binary).flatten(1).sum(1) / (area + 1e-6)
            crops += _crops(binary, boxes[part]) if whole is None else []
        results = InstanceData()
        results.bboxes = boxes[of_instance]
        results.labels = labels
        results.scores = scores * certainty[of_instance]
        results.masks = [crops[query] for query in of_instance.tolist()] if whole is None else \
            whole[of_instance]
        return results


def _crops(masks, boxes):
    """Left, top and what lies in the box of each mask."""
    return [(left, top, mask[top:bottom, left:right].numpy(force=True).copy())
            for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True)]


class _EnlargedMasks:
    """The logits of an image's masks in the size of its results.

    Args:
        logits (Tensor): (queries, h, w).
        meta (dict): meta data of the image.
        rescale (bool): the results have the image's original size.
    """

    def __init__(self, logits, meta, rescale):
        self.logits = logits
        self.batch = tuple(meta['batch_input_shape'])
        self.image = tuple(meta['img_shape'][:2])
        self.size = tuple(meta['ori_shape'][:2]) if rescale else self.image

    def chunks(self, queries: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Slices of some queries and their logits, (queries of the slice, height, width)."""
        height, width = self.image
        step = max(CHUNK // max(self.size[0] * self.size[1], height * width), 1)
        for begin in range(0, len(queries), step):
            part = slice(begin, min(begin + step, len(queries)))
            logits = _resize(self.logits[queries[part]], self.batch)[:, :height, :width]
            yield part, _resize(logits, self.size)


def _resize(maps, size):
    if maps.shape[1:] == size:
        return maps
    return F.interpolate(maps[None], size=size, mode='bilinear', align_corners=False)[0]
