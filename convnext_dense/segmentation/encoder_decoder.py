"""mmseg's segmentor with inference from the logits to the label map in tiles."""
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder as MMSegEncoderDecoder
from mmseg.models.segmentors import SegTTAModel as MMSegTTAModel
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.models import ConvNeXt
from convnext_dense.registry import MODELS
from convnext_dense.segmentation.windows import Windows, grid, pad_small

MODES = ('whole', 'slide')


@MODELS.register_module()
class EncoderDecoder(MMSegEncoderDecoder):
    """``mmseg.EncoderDecoder``: same arguments, same training, same label maps.

    Windows go through the network in batches. Without ``seg_logits`` in the results, logits are
    brought to the image's size tile by tile, and only their largest class is kept.

    Args:
        test_cfg (dict): mmseg's ``mode``, ``crop_size`` and ``stride``, and also
            ``keep_logits`` (bool): give each sample its ``seg_logits``, as mmseg does; True by
            default. ``window_batch`` (int): windows of each image that go through the network
            at once; 1 by default.

    Raises:
        InputError: a ``mode`` that does not exist, or a ``stride`` that leaves gaps.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        test_cfg = self.test_cfg or {}
        mode = test_cfg.get('mode', 'whole')
        if mode not in MODES:
            raise InputError(f'EncoderDecoder: test_cfg.mode {mode!r}; there are {MODES}')
        if mode == 'slide' and any(stride > crop for stride, crop in zip(
                test_cfg['stride'], test_cfg['crop_size'])):
            raise InputError(f'EncoderDecoder: test_cfg.stride {test_cfg["stride"]} leaves gaps '
                             f'between windows of crop_size {test_cfg["crop_size"]}')

    @property
    def windows(self) -> Windows:
        """Windows: those of ``test_cfg``."""
        return Windows(self.test_cfg, self.align_corners)

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list | Tensor:
        """Label maps; see mmseg.

        Args:
            inputs (Tensor): images of shape (N, C, H, W).
            data_samples (list[SegDataSample] | None): with the meta data of the images.

        Returns:
            list[SegDataSample]: the samples with ``pred_sem_seg``, of shape (1, H, W) in the
            original size, and, where they are kept, ``seg_logits``.
        """
        if data_samples is not None:
            inputs = pad_small(inputs, data_samples, _stride(self.backbone))
        head = self.decode_head
        plain = all(getattr(type(head), name) is getattr(BaseDecodeHead, name)
                    for name in ('predict', 'predict_by_feat'))
        if data_samples is None or self.test_cfg.get('keep_logits', True) or not plain or \
                self.out_channels == 1:
            return super().predict(inputs, data_samples)
        height, width = inputs.shape[2:]
        if self.test_cfg.get('mode', 'whole') == 'whole':
            meta = data_samples[0].metainfo
            height, width = meta.get('pad_shape', meta['img_shape'])[:2]
        return self.predict_labels(self.window_logits(inputs), (height, width), data_samples)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses, see mmseg; 0 where heads of one channel get ignored pixels only.

        mmseg's loss of one channel asks for the largest label, which a batch of crops without any
        does not have.

        Args:
            inputs (Tensor): images of shape (N, C, H, W).
            data_samples (list[SegDataSample]): with ``gt_sem_seg``.

        Returns:
            dict[str, Tensor]
        """
        heads = dict(decode=self.decode_head)
        if self.with_auxiliary_head:
            auxiliary = self.auxiliary_head
            heads |= {f'aux_{number}': head for number, head in enumerate(auxiliary)} if \
                isinstance(auxiliary, nn.ModuleList) else dict(aux=auxiliary)
        if not any(head.out_channels == 1 for head in heads.values()) or any(
                bool((sample.gt_sem_seg.data != self.decode_head.ignore_index).any())
                for sample in data_samples):
            return super().loss(inputs, data_samples)
        maps = self.extract_feat(inputs)
        return {f'{name}.loss_ignored': head(maps).sum() * 0 for name, head in heads.items()}

    def postprocess_result(self, seg_logits: Tensor, data_samples: list | None = None) -> list:
        """mmseg's, which knows no diagonal flip: turned back along one axis there, one here."""
        diagonal = [sample for sample in data_samples or ()
                    if sample.metainfo.get('flip') and
                    sample.metainfo.get('flip_direction') == 'diagonal']
        for sample in diagonal:
            sample.set_metainfo(dict(flip_direction='horizontal'))
        results = super().postprocess_result(seg_logits, data_samples)
        for sample in diagonal:
            sample.set_metainfo(dict(flip_direction='diagonal'))
            for data in (sample.seg_logits, sample.pred_sem_seg):
                data.data = data.data.flip(-2)
        return results

    def window_logits(self, inputs: Tensor) -> Tensor:
        """Logits of the windows in the size that the head gives them.

        Args:
            inputs (Tensor): images of shape (N, C, H, W).

        Returns:
            Tensor: shape (windows, N, classes, h, w).
        """
        logits = torch.cat([self.decode_head.forward(self.extract_feat(crops))
                            for crops in self.windows.crops(inputs)])
        return logits.detach().unflatten(0, (-1, len(inputs)))

    def predict_labels(self, logits: Tensor, size: tuple[int, int], data_samples: list) -> list:
        """Give the samples their label maps.

        Args:
            logits (Tensor): what :meth:`window_logits` gives.
            size (tuple[int, int]): height and width that the windows cover together.
            data_samples (list[SegDataSample]): with the meta data of the images.

        Returns:
            list[SegDataSample]: the same samples.
        """
        for index, sample in enumerate(data_samples):
            labels = self.windows.label_map(logits[:, index], size, sample.metainfo)
            sample.set_data(dict(pred_sem_seg=PixelData(data=labels[None])))
        return data_samples

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits of overlapping windows, averaged; the values are mmseg's.

        Args:
            inputs (Tensor): images of shape (N, C, H, W).
            batch_img_metas (list[dict]): their meta data.

        Returns:
            Tensor: logits of shape (N, classes, H, W).
        """
        batch, _, height, width = inputs.shape
        sums = inputs.new_zeros(batch, self.out_channels, height, width)
        counts = inputs.new_zeros(height, width)
        windows = iter(grid(self.windows.axes((height, width))))
        for crops in self.windows.crops(inputs):
            # mmseg's heads know a window from an image by the type of its shape
            metas = [dict(batch_img_metas[0], img_shape=crops.shape[2:])]
            for logits in self.encode_decode(crops, metas).split(batch):
                rows, columns = next(windows)
                sums[:, :, rows, columns] += logits
                counts[rows, columns] += 1
        return sums.div_(counts)


@MODELS.register_module()
class SegTTAModel(MMSegTTAModel):
    """``mmseg.SegTTAModel`` for a segmentor that otherwise keeps no logits."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        test_cfg = self.module.test_cfg.copy()
        test_cfg['keep_logits'] = True
        self.module.test_cfg = test_cfg


def _stride(backbone):
    """Pixels of the last map's cells of a ConvNeXt, whose shortest side it is; 1 of others."""
    return 4 * 2**max(backbone.out_indices) if isinstance(backbone, ConvNeXt) else 1
