"""Run-length encoding of binary masks, COCO's compressed format, beside the network's work."""
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np
import torch
from hotcoco import mask as hotcoco_mask


def encode_masks(masks: torch.Tensor | np.ndarray) -> list[dict]:
    """Compressed RLEs of the masks of one image, byte for byte pycocotools'.

    RLE runs down the columns. Masks that lie in memory that way (those of this package's mask
    head) are encoded in one call. For others, stored by rows, most of the time would go into
    strided reading: they are transposed first (on a GPU all at once, before the transfer; on a
    CPU one by one with OpenCV's blocked transpose into a buffer that stays in the cache).

    Args:
        masks (torch.Tensor | numpy.ndarray): (n, height, width), bool or uint8 of zeros and ones.

    Returns:
        list[dict]: n dicts ``{'size': [height, width], 'counts': bytes}``.
    """
    if isinstance(masks, torch.Tensor):
        if masks.device.type != 'cpu':
            return _encode_columns(_columns_to_cpu(masks))
        masks = masks.detach().numpy()
    if masks.dtype in (np.bool_, np.uint8) and masks.transpose(0, 2, 1).flags.c_contiguous:
        return _encode_columns(masks.transpose(0, 2, 1).view(np.uint8))
    masks = np.ascontiguousarray(masks)
    if masks.dtype not in (np.bool_, np.uint8):
        masks = masks != 0
    masks = np.asarray(masks).view(np.uint8)
    _, height, width = masks.shape
    columns = np.empty((width, height), np.uint8)
    rles = []
    for mask in masks:
        cv2.transpose(mask, columns)
        rles.append(hotcoco_mask.encode(columns.T))
    return rles


def _columns_to_cpu(masks):
    """(n, width, height) uint8 array of masks on another device."""
    return masks.detach().transpose(1, 2).contiguous().to(torch.uint8).cpu().numpy()


def _encode_columns(columns):
    return hotcoco_mask.encode(columns.transpose(2, 1, 0)) if len(columns) else []


class BackgroundEncoder:
    """Encodes the masks of images in a thread, while the network works on the next image.

    Args:
        backlog (int): images that may wait at once; a further one waits for the oldest, which
            bounds the memory of masks (100 masks of 480x640 take 31 MB).
    """

    def __init__(self, backlog: int = 4) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Future] = deque()
        self.backlog = backlog

    def submit(self, masks: torch.Tensor | np.ndarray) -> Future[list[dict]]:
        """Start encoding ``masks`` (n, height, width).

        They are read later: on a CPU the caller must not change them in place.

        Returns:
            concurrent.futures.Future: of the list of RLEs.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix='rle')
        while len(self._waiting) >= self.backlog:
            self._waiting.popleft().result()
        if isinstance(masks, torch.Tensor) and masks.device.type != 'cpu':
            future = self._pool.submit(_encode_columns, _columns_to_cpu(masks))
        else:
            future = self._pool.submit(encode_masks, masks)
        self._waiting.append(future)
        return future

    def __getstate__(self):
        # a metric that holds an encoder can be copied and pickled; threads cannot
        return {'_pool': None, '_waiting': deque(), 'backlog': self.backlog}
