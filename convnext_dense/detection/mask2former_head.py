"""Mask2Former's head (arXiv 2112.01527): the same losses and masks with fewer maps in full size.

Of the masks of all queries the losses see those alone that were matched to an object, and the
matching sees all of them at the same points.
"""
from math import gcd
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.ops import point_sample
from mmdet.models.dense_heads import Mask2FormerHead as MMDetMask2FormerHead
from mmdet.models.task_modules.samplers import MaskPseudoSampler
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from convnext_dense.plain_layers import in_float32_on_cpu
from convnext_dense.registry import MODELS

#: groups of queries whose masks are sampled by a thread each, at most
GROUPS = 4


class FewerMaps(MMDetMask2FormerHead):
    """What the heads of mmdet and mmseg, whose base is mmdet's, compute otherwise."""

    def _forward_head(self, decoder_out: Tensor, mask_feature: Tensor, attn_mask_target_size: tuple
                      ) -> tuple[Tensor, Tensor, Tensor]:
        """As mmdet's; the attention masks of all heads are made from one."""
        if not in_float32_on_cpu(mask_feature):
            return super()._forward_head(decoder_out, mask_feature, attn_mask_target_size)
        decoder_out = self.transformer_decoder.post_norm(decoder_out)
        masks = _QueryMaps.apply(self.mask_embed(decoder_out), mask_feature)
        hidden = F.interpolate(masks.detach(), attn_mask_target_size, mode='bilinear',
                               align_corners=False).flatten(2).sigmoid() < 0.5
        # one image's mask holds for all heads as it is
        hidden = hidden[0] if len(hidden) == 1 else hidden.repeat_interleave(self.num_heads, 0)
        return self.cls_embed(decoder_out), masks, hidden

    def loss_by_feat(self, all_cls_scores: Any, all_mask_preds: Any, batch_gt_instances: list,
                     batch_img_metas: list[dict]) -> dict[str, Tensor]:
        """As mmdet's, which makes numbers of the objects' masks anew for each layer."""
        instances = [InstanceData(labels=one.labels, masks=one.masks.float())
                     for one in batch_gt_instances]
        return super().loss_by_feat(all_cls_scores, all_mask_preds, instances, batch_img_metas)

    def _loss_by_feat_single(self, cls_scores, mask_preds, batch_gt_instances, batch_img_metas):
        if type(self.sampler) is not MaskPseudoSampler or not in_float32_on_cpu(mask_preds):
            return super()._loss_by_feat_single(
                cls_scores, mask_preds, batch_gt_instances, batch_img_metas)
        matches = [self._match(*image) for image in zip(
            cls_scores.detach(), mask_preds.detach(), batch_gt_instances, batch_img_metas)]
        labels = torch.full(cls_scores.shape[:2], self.num_classes, dtype=torch.long)
        for row, (queries, objects), instances in zip(labels, matches, batch_gt_instances):
            row[queries] = instances.labels[objects]
        labels = labels.flatten()
        loss_cls = self.loss_cls(
            cls_scores.flatten(0, 1), labels, torch.ones_like(labels, dtype=cls_scores.dtype),
            avg_factor=cls_scores.new_tensor(self.class_weight)[labels].sum())
        # an image without objects counts as one mask, as in mmdet's sampler
        number = sum(max(len(queries), 1) for queries, _ in matches)
        number = max(reduce_mean(cls_scores.new_tensor([number])), 1)
        found = torch.cat([masks[queries] for masks, (queries, _) in zip(mask_preds, matches)])
        if not len(found):
            return loss_cls, found.sum(), found.sum()
        with torch.no_grad():
            points = uncertain_points(found, self.num_points, self.oversample_ratio,
                                      self.importance_sample_ratio)
            targets = torch.cat([
                _sample(instances.masks[objects], of_image) for instances, (_, objects), of_image in
                zip(batch_gt_instances, matches, points.split([len(q) for q, _ in matches]))])
        found = _sample(found, points)
        loss_dice = self.loss_dice(found, targets, avg_factor=number)
        loss_mask = self.loss_mask(found.flatten(), targets.flatten(),
                                   avg_factor=number * self.num_points)
        return loss_cls, loss_mask, loss_dice

    def _match(self, scores, masks, instances, meta):
        """Queries of an image, in ascending order, and the objects that they are matched to."""
        points = torch.rand((1, self.num_points, 2), device=masks.device)
        assigned = self.assigner.assign(
            pred_instances=InstanceData(scores=scores, masks=sample_together(masks, points)),
            gt_instances=InstanceData(labels=instances.labels,
                                      masks=sample_together(instances.masks, points)),
            img_meta=meta).gt_inds
        queries = (assigned > 0).nonzero().squeeze(1)
        return queries, assigned[queries] - 1


@MODELS.register_module()
class Mask2FormerHead(FewerMaps):
    """``mmdet.Mask2FormerHead`` with the same arguments, losses and masks."""


def uncertain_points(masks: Tensor, number: int, oversampling: float, share: float) -> Tensor:
    """Random points, most of them where masks are least certain, as mmdet draws them.

    Args:
        masks (Tensor): logits, (K, h, w).
        number (int): points of a mask.
        oversampling (float): how many times as many are drawn first.
        share (float): of the points that are the least certain of these, in [0, 1].

    Returns:
        Tensor: (K, number, 2), x and y in [0, 1].
    """
    drawn = torch.rand(len(masks), int(number * oversampling), 2, device=masks.device)
    uncertain = int(share * number)
    least = _sample(masks, drawn).abs_().topk(uncertain, largest=False, sorted=False).indices
    points = drawn.gather(1, least[..., None].expand(-1, -1, 2))
    if uncertain == number:
        return points
    others = torch.rand(len(masks), number - uncertain, 2, device=masks.device)
    return torch.cat([points, others], dim=1)


def _sample(masks, points):
    """Bilinear samples (K, P) of masks (K, h, w) at points (K, P, 2) of each."""
    return point_sample(masks[:, None], points)[:, 0]


def sample_together(masks: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples of masks at the same points, whose places are computed once.

    Args:
        masks (Tensor): (K, h, w).
        points (Tensor): (1, P, 2), x and y in [0, 1].

    Returns:
        Tensor: (K, P).
    """
    groups = gcd(len(masks), GROUPS)
    if not groups:
        return masks.new_zeros(0, points.shape[1])
    return point_sample(masks.unflatten(0, (groups, -1)), points.expand(groups, -1, -1)).flatten(
        0, 1)


class _QueryMaps(Function):
    """Maps of queries: embeddings (N, Q, C) times features (N, C, H, W) are (N, Q, H, W).

    M = E F for each image, so with G the gradient of M, that of E is G F' and that of F is E' G: a
    row of G that is 0 gives 0 to its row of the one and nothing to the other.

    Most queries are matched to no object, so that their maps have no gradient: those that have one
    alone take part in the products.
    """

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, features: Tensor) -> Tensor:
        ctx.save_for_backward(embeddings, features)
        return (embeddings @ features.flatten(2)).unflatten(2, features.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        embeddings, features = ctx.saved_tensors
        images, channels, height, width = features.shape
        embeddings_grad = torch.zeros_like(embeddings)
        features_grad = features.new_empty(images, height * width, channels)
        grad = grad.flatten(2)
        matched = torch.linalg.vector_norm(grad, torch.inf, dim=2) != 0
        for image, queries in enumerate(matched):
            queries = queries.nonzero().squeeze(1)
            rows = grad[image, queries]
            embeddings_grad[image, queries] = rows @ features[image].flatten(1).T
            torch.mm(rows.T, embeddings[image, queries], out=features_grad[image])
        return embeddings_grad, features_grad.unflatten(1, (height, width)).permute(0, 3, 1, 2)
