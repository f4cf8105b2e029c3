"""mmdet's RoI heads, which on a CPU predict the mask of a RoI's class instead of all classes'."""
from typing import Any

import torch
from mmdet.models.roi_heads import BaseRoIHead
from mmdet.models.roi_heads import CascadeRoIHead as MMDetCascadeRoIHead
from mmdet.models.roi_heads import StandardRoIHead as MMDetStandardRoIHead
from mmdet.structures.bbox import bbox2roi
from torch import nn

from convnext_dense.detection.mask_head import FCNMaskHead
from convnext_dense.plain_layers import in_float32_on_cpu
from convnext_dense.registry import MODELS


class _MasksOfLabels(BaseRoIHead):
    """In place of ``predict_mask``, which computes all classes' masks and takes one of them."""

    def predict_mask(self, x, batch_img_metas, results_list, rescale=False):
        heads, extractors = (
            list(modules) if isinstance(modules, nn.ModuleList) else [modules]
            for modules in (self.mask_head, self.mask_roi_extractor))
        numbers = [len(results) for results in results_list]
        if not sum(numbers) or not in_float32_on_cpu(x[0]) or self.with_shared_head or \
                self.test_cfg.mask_thr_binary < 0 or \
                any(meta.get('flip') for meta in batch_img_metas) or \
                not all(isinstance(head, FCNMaskHead) and head.computes_labels() for head in heads):
            return super().predict_mask(x, batch_img_metas, results_list, rescale)
        rois = bbox2roi([results.bboxes for results in results_list])
        labels = torch.cat([results.labels for results in results_list])
        masks = sum(head.forward_labels(extractor(x[:extractor.num_inputs], rois), labels).sigmoid()
                    for head, extractor in zip(heads, extractors)) / len(heads)
        last: Any = heads[-1]
        return last.predict_by_feat(
            mask_preds=masks.split(numbers), results_list=results_list,
            batch_img_metas=batch_img_metas, rcnn_test_cfg=self.test_cfg, rescale=rescale,
            activate_map=True)


@MODELS.register_module()
class CascadeRoIHead(_MasksOfLabels, MMDetCascadeRoIHead):
    """``mmdet.CascadeRoIHead`` with the same arguments and results."""


@MODELS.register_module()
class StandardRoIHead(_MasksOfLabels, MMDetStandardRoIHead):
    """``mmdet.StandardRoIHead`` with the same arguments and results."""
