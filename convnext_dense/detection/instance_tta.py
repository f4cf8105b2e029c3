"""Test-time augmentation of an instance segmenter, masks included."""
from typing import Any

import torch
from mmcv.ops import batched_nms
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData

from convnext_dense.registry import MODELS


@MODELS.register_module()
class InstanceTTAModel(BaseTTAModel):
    """Merges the instances found in resized and flipped views of an image.

    The instances of all views compete in one non-maximum suppression for each class; the ones
    that stay keep their own box, score and mask. (``mmdet.DetTTAModel`` refuses masks.)

    Args:
        nms (dict): the suppression, as in a detector's ``test_cfg.rcnn.nms``.
        max_per_img (int): instances that are kept for an image.
        module, data_preprocessor: the detector; see ``mmengine.model.BaseTTAModel``.
    """

    def __init__(self, nms: dict = dict(type='nms', iou_threshold=0.5), max_per_img: int = 100,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.nms = nms
        self.max_per_img = max_per_img

    def test_step(self, data: dict) -> list:
        """Merged predictions of a batch of views; see ``mmengine.model.BaseTTAModel``."""
        # the detector must not know: mmdet's cascade would flip its masks, but not their boxes
        for views in data['data_samples']:
            for view in views:
                direction = view.flip_direction if view.flip else None
                view.set_metainfo(dict(view_flip=direction, flip=False, flip_direction=None))
        return super().test_step(data)

    def merge_preds(self, data_samples_list: list) -> list:
        """One prediction for each image.

        Args:
            data_samples_list (list[Sequence[DetDataSample]]): for each image its views, with
                ``view_flip`` (horizontal, vertical, diagonal or None) and ``ori_shape`` in their
                meta data; boxes and masks are in pixels of the original, but flipped, image.

        Returns:
            list[DetDataSample]: the first view of each image with the merged instances, the
            highest score first.
        """
        return [self._merge(views) for views in data_samples_list]

    def _merge(self, views):
        merged = InstanceData.cat([
            unflip(view.pred_instances, view.view_flip, view.ori_shape) for view in views])
        if len(merged):
            boxes, kept = batched_nms(merged.bboxes, merged.scores, merged.labels, self.nms)
            merged = merged[kept[:self.max_per_img]]
            boxes = boxes[:self.max_per_img]
            merged.bboxes, merged.scores = boxes[:, :4], boxes[:, 4]
        views[0].pred_instances = merged
        return views[0]


def unflip(instances: InstanceData, direction: str | None, shape: tuple[int, ...]) -> InstanceData:
    """Instances of a flipped image in the coordinates of the image itself.

    Args:
        instances (InstanceData): ``bboxes`` of shape (n, 4), x1, y1, x2, y2 in pixels, and where
            there are ``masks``, of shape (n, H, W).
        direction (str | None): how the image was flipped: horizontal, vertical or diagonal.
        shape (tuple[int]): height and width of the image in pixels.

    Returns:
        InstanceData: a copy where something had to be flipped.
    """
    if not direction:
        return instances
    height, width = shape[:2]
    flipped = instances.clone()
    axes = dict(horizontal='x', vertical='y', diagonal='xy')[direction]
    x1, y1, x2, y2 = flipped.bboxes.unbind(dim=1)
    if 'x' in axes:
        x1, x2 = width - x2, width - x1
    if 'y' in axes:
        y1, y2 = height - y2, height - y1
    flipped.bboxes = torch.stack([x1, y1, x2, y2], dim=1)
    if 'masks' in flipped:
        flipped.masks = flipped.masks.flip([dict(x=-1, y=-2)[axis] for axis in axes])
    return flipped
