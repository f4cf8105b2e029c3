"""A two-stage detector as one network: from images to boxes, scores, classes and masks."""
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.export.layers import describe_images, first_layer, pad_to_multiple
from convnext_dense.export.operators import roi_align, suppress


class TwoStageNetwork(nn.Module):
    """Mask R-CNN, Cascade Mask R-CNN and their forms without masks, as mmdet computes them.

    It takes ``images`` (N, 3, H, W) and gives the objects of all images, one after the other and
    by falling score: ``boxes`` (K, 4: x1, y1, x2, y2 in pixels of the input), ``scores`` (K, ),
    ``labels`` and ``image`` (int64, K; the class, and the image of the batch), and with a mask
    head ``masks`` (K, h, w; probabilities in the box).

    Args:
        model (nn.Module): ``TwoStageDetector`` of mmdet, in evaluation mode.
        normalise (bool): ``images`` are uint8 in BGR order, which are normalised inside.

    Raises:
        InputError: a part of the model does something that this does not know.
    """

    def __init__(self, model: Any, normalise: bool):
        super().__init__()
        check(model)
        self.model = model
        self.normalise = first_layer(model, normalise)
        self.divisor = model.data_preprocessor.pad_size_divisor
        roi_head = model.roi_head
        self.stages = list(zip(_list(roi_head.bbox_head), _list(roi_head.bbox_roi_extractor)))
        self.mask_stages = list(zip(_list(roi_head.mask_head), _list(
            roi_head.mask_roi_extractor))) if roi_head.with_mask else []

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        height, width = images.shape[2:]
        images = self.normalise(images)
        maps = self.model.extract_feat(pad_to_multiple(images, self.divisor))
        names = torch.arange(images.shape[0])
        boxes, image = self.proposals(maps, names, height, width)
        sums: Any = 0
        for stage, (head, extractor) in enumerate(self.stages):
            logits, deltas = head(_features(extractor, maps, boxes, image))
            sums = sums + logits
            if stage < len(self.stages) - 1:
                label = logits[:, :-1].argmax(1)
                boxes = clip(decode(head.bbox_coder, boxes, _of_label(head, deltas, label)),
                             height, width)
        head = self.stages[-1][0]
        scores = F.softmax(sums / len(self.stages), dim=-1)[:, :-1]
        boxes, scores, labels, image = self.detections(
            head, boxes, deltas, scores, image, names, height, width)
        if not self.mask_stages:
            return boxes, scores, labels, image
        masks: Any = 0
        for mask_head, extractor in self.mask_stages:
            logits = mask_head(_features(extractor, maps, boxes, image))
            channel = torch.zeros_like(labels) if mask_head.class_agnostic else labels
            channel = channel[:, None, None, None].expand(-1, -1, *logits.shape[2:])
            masks = masks + logits.gather(1, channel)[:, 0].sigmoid()
        return boxes, scores, labels, image, masks / len(self.mask_stages)

    def proposals(self, maps: Any, names: Tensor, height: int, width: int
                  ) -> tuple[Tensor, Tensor]:
        """Boxes (K, 4) of the RPN and the image of each (K, )."""
        head = self.model.rpn_head
        cfg = head.test_cfg
        parts = []
        for level, (logits, deltas) in enumerate(zip(*head(maps))):
            batch, anchors, rows, columns = logits.shape
            priors = head.prior_generator.single_level_grid_priors(
                (rows, columns), level, device=logits.device)
            scores = logits.permute(0, 2, 3, 1).reshape(batch, -1).sigmoid()
            deltas = deltas.permute(0, 2, 3, 1).reshape(batch, -1, 4)
            number = scores.shape[1]
            if cfg.nms_pre > 0:
                number = torch.sym_min(number, cfg.nms_pre)
            scores, index = scores.topk(number, dim=1)
            deltas = deltas.gather(1, index[:, :, None].expand(-1, -1, 4))
            boxes = clip(decode(head.bbox_coder, priors[index].reshape(-1, 4),
                                deltas.reshape(-1, 4)), height, width).unflatten(0, (batch, -1))
            parts.append((boxes, scores, torch.full_like(index, level)))
        boxes, scores, levels = (torch.cat(part, 1) for part in zip(*parts))
        sides = boxes[..., 2:] - boxes[..., :2]
        scores = scores * (sides > max(cfg.get('min_bbox_size', -1), -1)).all(-1)
        # levels do not suppress one another: each is moved to a place of its own
        apart = levels * (boxes.amax((1, 2), keepdim=True)[..., 0] + 1)
        image = names[:, None].expand_as(levels).flatten()
        kept = suppress((boxes + apart[..., None]).flatten(0, 1), scores.flatten(), image, names,
                        cfg.nms.iou_threshold, cfg.max_per_img)
        return boxes.flatten(0, 1)[kept], image[kept]

    def detections(self, head: Any, rois: Tensor, deltas: Tensor, scores: Tensor, image: Tensor,
                   names: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
        """Boxes, scores, labels and images of the objects."""
        cfg = self.model.roi_head.test_cfg
        roi, labels = (scores > cfg.score_thr).nonzero(as_tuple=True)
        boxes = clip(decode(head.bbox_coder, rois[roi], _of_label(head, deltas[roi], labels)),
                     height, width)
        scores = scores[roi, labels]
        image = image[roi]
        largest = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).amax(0)
        apart = boxes + (labels * (largest + 1))[:, None]
        kept = suppress(apart, scores, image, names, cfg.nms.iou_threshold, cfg.max_per_img)
        return boxes[kept], scores[kept], labels[kept], image[kept]


def decode(coder: Any, boxes: Tensor, deltas: Tensor) -> Tensor:
    """Boxes (K, 4) moved by deltas (K, 4), as R-CNN (arXiv 1311.2524, appendix C) codes them."""
    deltas = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
    most = abs(torch.log(torch.tensor(16 / 1000, dtype=torch.float64)).item())
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, :2] + boxes[:, 2:]) * .5 + sides * deltas[:, :2]
    halves = sides * deltas[:, 2:].clamp(-most, most).exp() * .5
    return torch.cat([centres - halves, centres + halves], 1)


def clip(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes (K, 4) inside of the image."""
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([left.clamp(0, width), top.clamp(0, height), right.clamp(0, width),
                        bottom.clamp(0, height)], 1)


def _features(extractor, maps, boxes, image):
    """Features of the boxes (K, C, size, size)."""
    layers = list(extractor.roi_layers)
    rois = torch.cat([image[:, None].to(boxes), boxes], 1)
    return roi_align(list(maps[:len(layers)]), boxes, image,
                     extractor.map_roi_levels(rois, len(layers)),
                     [layer.spatial_scale for layer in layers], layers[0].output_size[0],
                     layers[0].sampling_ratio, layers[0].aligned)


def _of_label(head, deltas, labels):
    """The deltas (K, 4) of each box's class."""
    if head.reg_class_agnostic:
        return deltas
    index = labels[:, None, None].expand(-1, -1, 4)
    return deltas.unflatten(1, (-1, 4)).gather(1, index)[:, 0]


def _list(modules):
    return list(modules) if isinstance(modules, nn.ModuleList) else [modules]


def check(model: Any) -> None:
    """Refuse a detector that :class:`TwoStageNetwork` would compute in another way than mmdet.

    Raises:
        InputError: the part that is not known.
    """
    from mmdet.models.dense_heads import RPNHead
    from mmdet.models.detectors import TwoStageDetector
    from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
    from mmdet.models.roi_heads.bbox_heads import BBoxHead
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead
    from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder

    from convnext_dense import detection
    if not isinstance(model, TwoStageDetector):
        raise InputError(f'{type(model).__name__}: of detectors, those of two stages (Mask and '
                         'Cascade R-CNN) are exported')
    roi_head = model.roi_head
    extractors = _list(roi_head.bbox_roi_extractor)
    masks = _list(roi_head.mask_head) if roi_head.with_mask else []
    known = [
        (model.rpn_head, (RPNHead, detection.RPNHead)),
        (roi_head, (StandardRoIHead, CascadeRoIHead, detection.StandardRoIHead,
                    detection.CascadeRoIHead)),
        *((mask, (FCNMaskHead, detection.FCNMaskHead)) for mask in masks),
        *((coder, (DeltaXYWHBBoxCoder, )) for coder in (
            model.rpn_head.bbox_coder, *(head.bbox_coder for head in _list(roi_head.bbox_head))))]
    for part, kinds in known:
        if type(part) not in kinds:
            raise InputError(f'{type(part).__name__} computes in a way of its own; exported are '
                             f'{", ".join(sorted({kind.__name__ for kind in kinds}))}')
    for head in _list(roi_head.bbox_head):
        if not isinstance(head, BBoxHead) or head.custom_activation or not head.with_reg or \
                type(head)._predict_by_feat_single is not BBoxHead._predict_by_feat_single:
            raise InputError(f'{type(head).__name__} with loss_cls={type(head.loss_cls).__name__} '
                             'makes scores or boxes in a way of its own; it is not exported')
    if roi_head.with_shared_head or not model.rpn_head.use_sigmoid_cls:
        raise InputError('a shared head, or an RPN with softmax, is not exported')
    for extractor in extractors:
        if any(layer.pool_mode != 'avg' for layer in extractor.roi_layers):
            raise InputError('RoIAlign with pool_mode other than avg is not exported')
    for name, cfg in (('rpn', model.rpn_head.test_cfg), ('rcnn', roi_head.test_cfg)):
        if cfg.nms.get('type', 'nms') != 'nms' or cfg.nms.get('class_agnostic'):
            raise InputError(f'test_cfg.{name}.nms={dict(cfg.nms)}: ONNX has hard NMS by class; '
                             "set type='nms'")


def describe_objects(network: Any) -> dict:
    """``inputs`` and ``outputs`` of a detector without masks, for the card."""
    outputs = [
        dict(name='boxes', type='float32', shape=['objects', 4],
             meaning='x1, y1, x2, y2 in pixels of the input, of all images of the batch'),
        dict(name='scores', type='float32', shape=['objects'], meaning='in [0, 1]'),
        dict(name='labels', type='int64', shape=['objects'], meaning='index of the class'),
        dict(name='image', type='int64', shape=['objects'],
             meaning='image of the batch, from 0; its objects lie together, by falling score')]
    return dict(inputs=[describe_images(network)], outputs=outputs)


def describe(network: TwoStageNetwork) -> dict:
    """What a card says of the network: ``inputs``, ``outputs`` and ``network``."""
    found = describe_objects(network)
    of_network = dict(least_side=network.divisor)
    if network.mask_stages:
        side = 2 * network.mask_stages[0][1].roi_layers[0].output_size[0]
        found['outputs'].append(dict(
            name='masks', type='float32', shape=['objects', side, side],
            meaning='probability of each cell of the box'))
        of_network['mask_threshold'] = network.model.roi_head.test_cfg.mask_thr_binary
    return dict(found, network=of_network)
