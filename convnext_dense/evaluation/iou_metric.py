"""Mean IoU for mmseg configs, with mmseg's options and log keys, from integer counts."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from PIL import Image

from convnext_dense.errors import InputError
from convnext_dense.registry import FUNCTIONS, METRICS

from .collect import collect_images, on_main_process
from .confusion import count_boundaries, count_pixels, table_side
from .iou_figures import CLASS_FIGURES, iou_figures

# tables that wait on a GPU before they are fetched together
BATCH = 32


@METRICS.register_module()
class IoUMetric(BaseMetric):
    """IoU and accuracy of classes, a drop-in for mmseg's IoUMetric.

    Every image is one confusion count on the device where the prediction is. The counts are
    integers (mmseg adds them up as float32, which is exact only below 2**24 pixels a class), and
    a repeated image counts once, so that any number of processes gives the same counts.

    Args:
        ignore_index (int): annotated label that does not count.
        iou_metrics (str | list[str]): of ``mIoU``, ``mDice``, ``mFscore``.
        nan_to_num (float, optional): figure of a class that is nowhere; NaN, left out of the
            mean, by default.
        beta (float): weight of recall in the F-score.
        collect_device (str): ``cpu`` or ``gpu``, for collecting from the processes.
        output_dir (str, optional): folder for the predictions, one PNG an image: of 8 bits, of
            16 where a label needs it.
        image_root (str, optional): folder of the images, whose sub-folders ``output_dir`` keeps.
        format_only (bool): only write the predictions, for a test server.
        prefix (str, optional): prefix of the log keys.
        boundary (bool): add boundary IoU, ``mBoundaryIoU``.
        boundary_ratio (float): its width in diagonals of the image.
        reduce_zero_label (bool, optional): whether the data set's label 0 means "other" and the
            classes begin at 1, so that written predictions are label + 1 (ADE20K). By default
            the data sample says; test-time augmentation loses what it says.
        report (bool): also write the figures by class, the counts of every image, the confusion
            matrix and the worst images.
        report_dir (str, optional): where; ``evaluation`` in the run's log folder by default.

    Raises:
        InputError: an unknown option, a label map of another size than the prediction, a label
            that is neither a class nor ignored.
    """

    def __init__(self, ignore_index: int = 255, iou_metrics: Sequence[str] = ('mIoU',),
                 nan_to_num: float | None = None, beta: float = 1, collect_device: str = 'cpu',
                 output_dir: str | None = None, format_only: bool = False,
                 prefix: str | None = None, boundary: bool = False, boundary_ratio: float = 0.02,
                 reduce_zero_label: bool | None = None, report: bool = False,
                 report_dir: str | None = None, image_root: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = [iou_metrics] if isinstance(iou_metrics, str) else list(iou_metrics)
        for name in self.metrics:
            if name not in CLASS_FIGURES:
                raise InputError(f'IoUMetric: iou_metrics {name!r} is none of '
                                 f'{", ".join(CLASS_FIGURES)}')
        if format_only and output_dir is None:
            raise InputError('IoUMetric: format_only needs output_dir, the folder to write to')
        self.ignore_index = ignore_index
        self.nan_to_num = nan_to_num
        self.beta = beta
        self.output_dir = output_dir
        self.image_root = image_root
        self._written: dict[Path, str] = {}
        self.format_only = format_only
        self.boundary = boundary
        self.boundary_ratio = boundary_ratio
        self.reduce_zero_label = reduce_zero_label
        self.report = report
        self.report_dir = report_dir
        self._waiting: list = []

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch of images, and write them where asked.

        Args:
            data_batch: unused.
            data_samples (Sequence[dict]): ``pred_sem_seg`` and ``gt_sem_seg`` with ``data``
                (1, height, width) integer labels, and ``img_path``.
        """
        classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            prediction = _label_map(sample['pred_sem_seg'])
            name = self._name(sample)
            if not self.format_only:
                if 'gt_sem_seg' not in sample:
                    raise InputError(f'{name}: no annotated label map: load annotations in the '
                                     "test pipeline, or set the metric's format_only")
                label = _label_map(sample['gt_sem_seg'])
                if label.shape != prediction.shape:
                    raise InputError(
                        f'{name}: predicted {_size(prediction)}, but annotated {_size(label)}: '
                        'annotations must be loaded after the resizing of the test pipeline')
                tables = [count_pixels(prediction, label, classes, self.ignore_index).flatten()]
                if self.boundary:
                    tables.append(count_boundaries(prediction, label, classes, self.ignore_index,
                                                   self.boundary_ratio).flatten())
                self._waiting.append((name, torch.cat(tables)))
                if prediction.device.type == 'cpu' or len(self._waiting) >= BATCH:
                    self._fetch()
            if self.output_dir is not None:
                self._write(prediction, sample, name)
            if self.format_only:
                self.results.append({'name': name})

    def evaluate(self, size: int) -> dict[str, float]:
        """The figures of all images that all processes have seen.

        Args:
            size (int): number of images in the data set.

        Returns:
            dict[str, float]: figures in percent under their log keys, on every process.
        """
        self._fetch()
        results = collect_images(self.results, 'name', self.collect_device, self.collect_dir)
        self.results.clear()
        if results is not None and len(results) < size:
            MMLogger.get_current_instance().warning(
                f'{len(results)} of {size} images of the data set were evaluated')
        figures = on_main_process(lambda: self.compute_metrics(results or []))
        return {f'{self.prefix}/{key}' if self.prefix else key: value
                for key, value in figures.items()}

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """The figures of collected results.

        Args:
            results (list[dict]): what ``process`` kept, each image once.

        Returns:
            dict[str, float]: figures in percent without the prefix, two digits like mmseg's.
        """
        logger = MMLogger.get_current_instance()
        if self.format_only:
            logger.info(f'results are saved to {self.output_dir}')
            return {}
        if not results:
            raise InputError('IoUMetric: no image was evaluated: the data set is empty')
        classes = self.dataset_meta['classes']
        confusion = np.zeros((len(classes), len(classes)), np.int64)
        for result in results:
            np.add.at(confusion, (result['label'], result['prediction']), result['pixels'])
        boundary = sum(result['boundary'] for result in results) if self.boundary else None
        overall, by_class = iou_figures(confusion, self.metrics, self.beta, boundary)
        if self.nan_to_num is not None:
            by_class = {name: np.nan_to_num(values, nan=self.nan_to_num)
                        for name, values in by_class.items()}
        summary = dict(overall)
        for name, values in by_class.items():
            summary[f'm{name}'] = float(np.nanmean(values)) if not np.isnan(values).all() \
                else float('nan')
        from .tables import percent_table
        logger.info('per class results:\n' + percent_table(classes, by_class))
        if self.report:
            from .coco_metric import report_folder
            FUNCTIONS.get('convnext_dense.write_segmentation_report')(
                report_folder(self.report_dir, logger), classes, results, confusion, summary,
                by_class)
        return {name: round(value * 100, 2) for name, value in summary.items()}

    def _name(self, sample):
        name = sample.get('img_path')
        if name is None and get_world_size() > 1:
            raise InputError('IoUMetric: an image without img_path cannot be told from its '
                             "repetition in another process: add 'img_path' to the meta_keys of "
                             'PackSegInputs')
        # padded, so that names sort like the images
        return str(name) if name is not None else \
            f'image {len(self.results) + len(self._waiting):06}'

    def _fetch(self):
        """Bring the waiting tables here in one transfer and keep their few filled cells."""
        if not self._waiting:
            return
        classes = len(self.dataset_meta['classes'])
        side = table_side(classes)
        names = [name for name, _ in self._waiting]
        tables = torch.stack([table for _, table in self._waiting]).cpu().numpy()
        self._waiting.clear()
        for name, table in zip(names, tables, strict=True):
            # of bool it is five times as fast
            cells = np.flatnonzero(table[:side * side] != 0)
            label, prediction = (cells // side), (cells % side)
            self._check(name, 'annotated', label, classes)
            self._check(name, 'predicted', prediction, classes)
            result = {'name': name, 'label': label.astype(np.int32),
                      'prediction': prediction.astype(np.int32), 'pixels': table[cells]}
            if self.boundary:
                result['boundary'] = table[side * side:].reshape(3, classes).copy()
            self.results.append(result)

    def _check(self, name, kind, labels, classes):
        if len(labels) and labels.max() >= classes:
            number = int(labels[labels >= classes][0])
            value = 'a label' if number == table_side(classes) - 1 else f'label {number}'
            raise InputError(
                f'{name}: {value} {kind}, but the classes are 0...{classes - 1} and '
                f'{self.ignore_index} is ignored: check reduce_zero_label, ignore_index and '
                'num_classes')

    def _write(self, prediction, sample, name):
        """Write one prediction as the ADE20K server wants it: a PNG named as the image, label 0
        for "other" where the data set has it."""
        shift = self.reduce_zero_label
        if shift is None:
            shift = sample.get('reduce_zero_label')
        if shift is None:
            raise InputError(f"{name}: whether the data set's label 0 means 'other' is unknown; "
                             "set the metric's reduce_zero_label (True for ADE20K)")
        labels = prediction.cpu().numpy().astype(np.int64) + bool(shift)
        if labels.max(initial=0) > 65535:
            raise InputError(f'{name}: label {labels.max()} does not fit a 16-bit PNG')
        place = Path(f'{name}_{get_rank()}.png')
        if 'img_path' in sample:
            place = Path(name).absolute()
            root = Path(self.image_root).absolute() if self.image_root else None
            place = place.relative_to(root) if root and place.is_relative_to(root) else \
                Path(place.name)
            place = place.with_suffix('.png')
        other = self._written.setdefault(place, name)
        if other != name:
            raise InputError(f'IoUMetric: the predictions of {other} and {name} would both be '
                             f'{place} in {self.output_dir}; set image_root, the folder that '
                             'their sub-folders are in')
        path = Path(self.output_dir or '') / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels.astype(np.uint8 if labels.max(initial=0) <= 255 else
                                      np.uint16)).save(path)


def _label_map(data):
    labels = data['data']
    labels = labels if isinstance(labels, torch.Tensor) else torch.as_tensor(labels)
    return labels.detach().reshape(labels.shape[-2:])


def _size(labels):
    return f'{labels.shape[1]}x{labels.shape[0]}'
