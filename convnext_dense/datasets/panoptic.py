"""Annotations in COCO's panoptic format: a PNG an image, whose colours are numbers of segments."""
from typing import Any

import numpy as np
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.datasets.transforms import LoadPanopticAnnotations as MMDetLoadPanopticAnnotations
from numpy.typing import NDArray

from convnext_dense.registry import TRANSFORMS


def segment_ids(colours: NDArray) -> NDArray:
    """The number of the segment that each pixel belongs to.

    Args:
        colours (ndarray): RGB image of shape (height, width, 3), uint8.

    Returns:
        ndarray: R + 256 G + 256**2 B, of shape (height, width), int32; 0 is no segment.
    """
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    return red + 256 * green + 65536 * blue


def segment_colours(ids: NDArray) -> NDArray:
    """The inverse of :func:`segment_ids`.

    Args:
        ids (ndarray): of shape (height, width), at least 0 and below 256**3.

    Returns:
        ndarray: RGB image of shape (height, width, 3), uint8.
    """
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


@TRANSFORMS.register_module()
class LoadPanopticAnnotations(MMDetLoadPanopticAnnotations):
    """``mmdet.LoadPanopticAnnotations`` without panopticapi, which is on no package index.

    Args:
        with_bbox, with_label, with_mask, with_seg (bool): what to load.
        box_type (str): of mmdet.
        imdecode_backend (str): of mmcv.
        backend_args (dict, optional): of mmengine's file storage.
    """

    def __init__(self, with_bbox: bool = True, with_label: bool = True, with_mask: bool = True,
                 with_seg: bool = True, box_type: str = 'hbox', imdecode_backend: str = 'cv2',
                 backend_args: dict[str, Any] | None = None) -> None:
        # past mmdet's own, which imports panopticapi for one function
        LoadAnnotations.__init__(
            self, with_bbox=with_bbox, with_label=with_label, with_mask=with_mask,
            with_seg=with_seg, with_keypoints=False, box_type=box_type,
            imdecode_backend=imdecode_backend, backend_args=backend_args)
        self.rgb2id = segment_ids
