"""Loading label maps with all of their range."""
import numpy as np
from mmcv.transforms import LoadAnnotations as MMCVLoadAnnotations
from mmseg.datasets.transforms import LoadAnnotations as MMSegLoadAnnotations

from convnext_dense.datasets.label_maps import read_labels
from convnext_dense.errors import InputError
from convnext_dense.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadAnnotations(MMSegLoadAnnotations):
    """``mmseg.LoadAnnotations`` without the cut to 8 bits: label maps of 16 bits stay as written.

    ``results['gt_seg_map']`` is uint8 where all labels fit, as mmseg's, else int32.

    Args:
        reduce_zero_label (bool, optional): as mmseg's: label 0 is ignored, the others are one
            less. The data set says it by default.
        backend_args (dict, optional): of mmengine's file storage.
        imdecode_backend (str): of mmcv; pillow keeps palettes as class numbers.
        ignore_index (int): what the ignored label becomes; as in the loss and the metric.
        label_values (dict, optional): the label of each value in the files, such as
            ``{0: 0, 255: 1}`` for masks of 0 and 255; other values stay as they are.

    Raises:
        InputError: ``label_values`` are no whole numbers.
    """

    def __init__(self, reduce_zero_label: bool | None = None, backend_args: dict | None = None,
                 imdecode_backend: str = 'pillow', ignore_index: int = 255,
                 label_values: dict | None = None) -> None:
        # past mmseg's own, which warns of reduce_zero_label=None too
        MMCVLoadAnnotations.__init__(
            self, with_bbox=False, with_label=False, with_seg=True, with_keypoints=False,
            imdecode_backend=imdecode_backend, backend_args=backend_args)
        self.reduce_zero_label = reduce_zero_label
        self.ignore_index = ignore_index
        try:
            self.label_values = {int(value): int(label)
                                 for value, label in (label_values or {}).items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise InputError(f'LoadAnnotations: label_values is {label_values!r}; give the label '
                             'of each value, such as {0: 0, 255: 1}') from error

    def _load_seg_map(self, results: dict) -> None:
        stored = read_labels(results['seg_map_path'], self.imdecode_backend, self.backend_args)
        labels = replace(stored.astype(np.int32), self.label_values)
        reduce = results['reduce_zero_label'] if self.reduce_zero_label is None else \
            self.reduce_zero_label
        if reduce:
            ignored = (labels == 0) | (labels == self.ignore_index)
            labels = np.where(ignored, self.ignore_index, labels - 1)
        labels = replace(labels, results.get('label_map') or {})
        small = labels.min(initial=0) >= 0 and labels.max(initial=0) <= 255
        results['gt_seg_map'] = labels.astype(np.uint8) if small else labels
        results['seg_fields'].append('gt_seg_map')


def replace(labels: np.ndarray, pairs: dict[int, int]) -> np.ndarray:
    """A copy of a label map with values replaced, all at once.

    Args:
        labels (ndarray): integers.
        pairs (dict[int, int]): the new value of each old one.
    """
    replaced = labels.copy()
    for old, new in pairs.items():
        if old != new:
            replaced[labels == old] = new
    return replaced
