"""Random images with objects, to time a model without a data set."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from convnext_dense.config_nodes import type_name

if TYPE_CHECKING:
    from mmengine.config import Config


def random_batch(cfg: Config, size: tuple[int, int], batch: int, seed: int = 0) -> dict[str, list]:
    """A batch as the data loader gives it to ``train_step`` and ``test_step``.

    Args:
        cfg (Config): an mmdet or mmseg config; says the kind of annotations and the classes.
        size (tuple[int, int]): height and width in pixels.
        batch (int): images.
        seed (int): of the random numbers.

    Returns:
        dict: ``inputs``, a list of uint8 tensors of shape (3, H, W), and ``data_samples``.
    """
    import torch
    rng = np.random.default_rng(seed)
    segmenter = 'EncoderDecoder' in (type_name(cfg.model) or '')
    inputs, samples = [], []
    for index in range(batch):
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        inputs.append(torch.from_numpy(image.transpose(2, 0, 1).copy()))
        sample = _segmentation(cfg, size, rng) if segmenter else _detection(cfg, size, rng)
        sample.set_metainfo(dict(img_id=index, img_path=f'random {index}', ori_shape=size,
                                 img_shape=size, pad_shape=size, scale_factor=(1., 1.),
                                 batch_input_shape=size, flip=False, flip_direction=None))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def number_of_classes(cfg: Config) -> int:
    """Classes of the model's (last) head."""
    model = cfg.model
    if 'panoptic_head' in model:
        return model.panoptic_head.num_things_classes
    heads = model.get('decode_head') or (model.get('roi_head') or model).get('bbox_head')
    head = heads[-1] if isinstance(heads, (list, tuple)) else heads
    return head.num_classes


def _detection(cfg, size, rng, objects=8):
    import torch
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData
    height, width = size
    corners = rng.uniform(0, .6, (objects, 2)) * (width, height)
    extent = rng.uniform(.1, .4, (objects, 2)) * (width, height)
    boxes = np.concatenate([corners, corners + extent], axis=1).astype(np.float32)
    masks = np.zeros((objects, height, width), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int)):
        mask[top:bottom, left:right] = 1
    instances = InstanceData(
        bboxes=torch.from_numpy(boxes), masks=BitmapMasks(masks, height, width),
        labels=torch.from_numpy(rng.integers(0, number_of_classes(cfg), objects)))
    return DetDataSample(gt_instances=instances, ignored_instances=InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)))


def _segmentation(cfg, size, rng, block=32):
    import torch
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample
    height, width = size
    labels = rng.integers(0, number_of_classes(cfg), (-(-height // block), -(-width // block)))
    labels = labels.repeat(block, axis=0).repeat(block, axis=1)[None, :height, :width]
    return SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(labels)))
