"""The windows in which a segmenter looks at an image, and the label map of their logits."""
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convnext_dense.segmentation.label_map import axis_matrix, label_map


class Windows:
    """What mmseg's ``test_cfg`` says: the whole image, or windows that cover it.

    Args:
        test_cfg (dict): ``mode`` (``whole`` or ``slide``), for the latter ``crop_size`` and
            ``stride`` (pixels, height and width), and ``window_batch``: windows of each image
            that go through the network at once.
        align_corners (bool): how logits are resized, see ``F.interpolate``.
    """

    def __init__(self, test_cfg: Any, align_corners: bool = False):
        self.test_cfg = test_cfg or {}
        self.align_corners = align_corners

    def axes(self, size: tuple[int, int]) -> list[list[tuple[int, int]]]:
        """Begin and end of the windows along both axes of an input of ``size`` (H, W)."""
        if self.test_cfg.get('mode', 'whole') == 'whole':
            return [[(0, size[0])], [(0, size[1])]]
        axes = []
        for length, crop, stride in zip(size, self.test_cfg['crop_size'], self.test_cfg['stride']):
            number = max(length - crop + stride - 1, 0) // stride + 1
            ends = [min(index * stride + crop, length) for index in range(number)]
            axes.append([(max(end - crop, 0), end) for end in ends])
        return axes

    def crops(self, inputs: Tensor) -> Iterator[Tensor]:
        """Batches of windows of images (N, C, H, W); in each, all images of a window lie together.
        """
        windows = list(grid(self.axes(inputs.shape[2:])))  # type: ignore[arg-type]
        step = self.test_cfg.get('window_batch', 1)
        for begin in range(0, len(windows), step):
            yield torch.cat([inputs[:, :, rows, columns]
                             for rows, columns in windows[begin:begin + step]])

    def label_map(self, logits: Tensor, size: tuple[int, int], meta: dict) -> Tensor:
        """The label map of an image.

        Args:
            logits (Tensor): of its windows, (windows, classes, h, w).
            size (tuple[int, int]): height and width that the windows cover together.
            meta (dict): the image's ``ori_shape``, padding and flip.

        Returns:
            Tensor: int64, of ``ori_shape``.
        """
        axes = self.axes(size)
        left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
        flip = meta.get('flip_direction') if meta.get('flip') else None
        borders = ((top, size[0] - bottom), (left, size[1] - right))
        matrices = [axis_matrix(windows, cells, length, border, out,
                                flip in (direction, 'diagonal'),
                                self.align_corners)
                    for windows, cells, length, border, out, direction in zip(
                        axes, logits.shape[2:], size, borders, meta['ori_shape'],
                        ('vertical', 'horizontal'))]
        # the windows beside and below one another as one map, channels last
        rows, columns = map(len, axes)
        mosaic = logits.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2)
        return label_map(mosaic.flatten(2, 3).flatten(0, 1), *matrices)


def grid(axes: list[list[tuple[int, int]]]) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of each window."""
    for top, bottom in axes[0]:
        for left, right in axes[1]:
            yield slice(top, bottom), slice(left, right)


def pad_small(inputs: Tensor, data_samples: list, shortest: int) -> Tensor:
    """Images with a side that the backbone cannot halve often enough, padded below and right.

    Args:
        inputs (Tensor): images of shape (N, C, H, W).
        data_samples (list[SegDataSample]): their meta data learn of the padding.
        shortest (int): least side in pixels.
    """
    height, width = inputs.shape[2:]
    below, right = max(shortest - height, 0), max(shortest - width, 0)
    if not below and not right:
        return inputs
    for sample in data_samples:
        meta = sample.metainfo
        sides = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
        sample.set_metainfo(dict(
            img_padding_size=[sides[0], sides[1] + right, sides[2], sides[3] + below],
            pad_shape=(height + below, width + right)))
    return F.pad(inputs, (0, right, 0, below))
