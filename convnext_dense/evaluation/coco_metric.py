"""COCO's AP and AR for mmdet configs, with mmdet's options and log keys.

Longer than 300 lines: it is one class with mmdet's options, each of which is documented.
"""
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get_local_path
from mmengine.logging import MMLogger

from convnext_dense.datasets.coco_file import read_coco
from convnext_dense.datasets.coco_requirements import (
    category_labels,
    check_drawable,
    check_masks,
    masks_of_other_size,
)
from convnext_dense.errors import InputError
from convnext_dense.registry import FUNCTIONS, METRICS

from .backends import GroundTruth, check_backend, load_ground_truth
from .coco_figures import FIGURES, class_figures, coco_figures
from .coco_ground_truth import dataset_from_instances, label_categories
from .collect import collect_images, on_main_process
from .detection_checks import check_detections, image_id
from .detections import Detections
from .proposal_recall import average_recalls
from .rle import BackgroundEncoder
from .tables import class_table, summary_table

METRIC_NAMES = ('bbox', 'segm', 'proposal', 'proposal_fast')
IOU_THRESHOLDS = np.linspace(.5, .95, 10)


@METRICS.register_module()
class CocoMetric(BaseMetric):
    """Average precision and recall as cocoapi computes them, a drop-in for mmdet's CocoMetric.

    The figures are pycocotools' to the last digits, the names in the log mmdet's. Detections go
    to the evaluating library as columns instead of through JSON files, masks are run-length
    encoded in a thread beside the network, and a repeated image counts once, so that any number
    of processes gives the same figures.

    Args:
        ann_file (str, optional): annotations in COCO's format; without it, the ground truth of
            the data samples is used.
        metric (str | list[str]): ``bbox``, ``segm``, ``proposal`` (class-agnostic AR),
            ``proposal_fast`` (mmdet's own AR).
        classwise (bool): log a table of AP by class and size, and add ``<class>_precision``.
        proposal_nums (Sequence[int]): three numbers of detections an image.
        iou_thrs (float | Sequence[float], optional): IoU thresholds; 0.50:0.05:0.95 by default.
        metric_items (Sequence[str], optional): which of the 12 figures to log.
        format_only (bool): only write the detections, for a test server.
        outfile_prefix (str, optional): where to write them: ``PREFIX.bbox.json``,
            ``PREFIX.segm.json``.
        backend_args (dict, optional): mmengine's file backend for ``ann_file``.
        collect_device (str): ``cpu`` or ``gpu``, for collecting from the processes.
        prefix (str, optional): prefix of the log keys; ``coco`` by default.
        sort_categories (bool): number the labels by category id instead of the file's order.
        backend (str): ``hotcoco``, ``pycocotools`` or ``faster-coco-eval``.
        report (bool): also write the figures by class and size, the detections, the
            precision-recall curves, the confusion matrix and the worst images.
        report_dir (str, optional): where; ``evaluation`` in the run's log folder by default.

    Raises:
        InputError: an unknown option, classes that the annotations lack, results for an image
            that they lack, and what :func:`check_detections` finds.
    """
    default_prefix = 'coco'

    def __init__(self, ann_file: str | None = None, metric: str | Sequence[str] = 'bbox',
                 classwise: bool = False, proposal_nums: Sequence[int] = (100, 300, 1000),
                 iou_thrs: float | Sequence[float] | None = None,
                 metric_items: Sequence[str] | None = None, format_only: bool = False,
                 outfile_prefix: str | None = None, backend_args: dict | None = None,
                 collect_device: str = 'cpu', prefix: str | None = None,
                 sort_categories: bool = False, backend: str = 'hotcoco', report: bool = False,
                 report_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = [metric] if isinstance(metric, str) else list(metric)
        _check_names('metric', self.metrics, METRIC_NAMES)
        _check_names('metric_items', metric_items or [], FIGURES)
        if format_only and outfile_prefix is None:
            raise InputError('CocoMetric: format_only needs outfile_prefix, the path and name '
                             'that the result files begin with')
        self.ann_file = ann_file
        self.classwise = classwise
        self.proposal_nums = sorted(proposal_nums)
        self.iou_thrs = IOU_THRESHOLDS if iou_thrs is None else np.atleast_1d(iou_thrs)
        _check_numbers(self.proposal_nums, self.iou_thrs)
        self.metric_items = metric_items
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix
        self.sort_categories = sort_categories
        self.backend = backend
        self.report = report
        self.report_dir = report_dir
        self._encoder = BackgroundEncoder()
        self._truth: GroundTruth | None = None
        self._categories: list[dict] | None = None
        self._other_sizes: dict[int, str] = {}
        check_backend(backend)
        if ann_file is not None:
            with get_local_path(ann_file, backend_args=backend_args) as path:
                content = read_coco(str(path), name=str(ann_file),
                                    masks='segm' in self.metrics or report)
            content.refuse('CocoMetric', files=False)
            self._truth = GroundTruth(backend, content)

    @property
    def dataset_meta(self) -> Any:
        """dict: of the data set, its ``classes`` above all."""
        return super().dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        """Set by the evaluator before any work: what cannot be evaluated is refused here."""
        BaseMetric.dataset_meta.fset(self, meta)
        self._categories = None
        if self._truth is not None and meta and meta.get('classes') is not None:
            self._check_masks()

    @property
    def _known_truth(self) -> GroundTruth:
        """The annotations, where there is a file or the results were collected."""
        assert self._truth is not None
        return self._truth

    @property
    def _classes(self) -> Sequence[str]:
        """Names of the labels; of a panoptic data set the things alone, which come first."""
        meta = self.dataset_meta
        if not meta.get('stuff_classes'):
            return meta['classes']
        return [name for name in meta['classes'] if name not in meta['stuff_classes']]

    def _check_masks(self):
        content = self._known_truth.content
        labels = category_labels('CocoMetric', content, self._classes)
        if 'segm' in self.metrics:
            check_masks("CocoMetric: metric 'segm'", content, labels[content.categories] >= 0,
                        "evaluate boxes alone (metric='bbox'), or leave these annotations out")
            check_drawable('CocoMetric', content)
            self._other_sizes = masks_of_other_size(content)

    def _check_size(self, result):
        place = self._known_truth.place(result['img_id'])
        other = None if place is None else self._other_sizes.get(place)
        if other:
            height, width = result['size']
            raise InputError(f'{other}, but the image is {width}x{height}: correct or remove it')

    @property
    def categories(self) -> list[dict]:
        """list[dict]: the data set's category of each label."""
        if self._categories is None:
            self._categories = label_categories(self._known_truth, self._classes,
                                                self.sort_categories)
        return self._categories

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Keep the detections of a batch of images.

        Args:
            data_batch: unused.
            data_samples (Sequence[dict]): ``img_id``, ``ori_shape`` (height, width) and
                ``pred_instances`` with ``bboxes`` (n, 4) corners in pixels, ``scores`` (n,),
                ``labels`` (n,), optionally ``masks`` ((n, height, width) or n RLEs) and
                ``mask_scores`` (n,); ``instances`` where there is no ``ann_file``.
        """
        labels = len(self.dataset_meta['classes'] if self._truth is None else self.categories)
        for sample in data_samples:
            pred = sample['pred_instances']
            height, width = sample['ori_shape'][:2]
            result = {'img_id': image_id(sample), 'img_path': sample.get('img_path'),
                      'size': (int(height), int(width))}
            for name in ('bboxes', 'scores', 'labels', 'mask_scores'):
                if name in pred:
                    result[name] = _array(pred[name])
            masks = pred.get('masks')
            masks = getattr(masks, 'masks', masks)
            check_detections(result, masks, labels, self._truth, self.ann_file)
            if self._other_sizes:
                self._check_size(result)
            if isinstance(masks, (torch.Tensor, np.ndarray)):
                result['masks'] = self._encoder.submit(masks)
            elif masks is not None:
                result['masks'] = list(masks)
            if self._truth is None:
                if 'instances' not in sample:
                    raise InputError(f'CocoMetric: no ann_file, and image {result["img_id"]} '
                                     'has no instances: set ann_file or load annotations')
                result['instances'] = sample['instances']
            self.results.append(result)

    def evaluate(self, size: int) -> dict[str, float]:
        """The figures of all images that all processes have seen.

        Args:
            size (int): number of images in the data set.

        Returns:
            dict[str, float]: figures under their log keys, on every process.
        """
        for result in self.results:
            if isinstance(result.get('masks'), Future):
                result['masks'] = result['masks'].result()
        results = collect_images(self.results, 'img_id', self.collect_device, self.collect_dir)
        self.results.clear()
        figures = on_main_process(lambda: self.compute_metrics(results or []))
        return {f'{self.prefix}/{key}' if self.prefix else key: value
                for key, value in figures.items()}

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """The figures of collected results.

        Args:
            results (list[dict]): what ``process`` kept, each image once.

        Returns:
            dict[str, float]: figures without the prefix, rounded to three digits like mmdet's.
        """
        logger = MMLogger.get_current_instance()
        # compute_metrics is also called directly, like mmdet's
        for result in results:
            if isinstance(result.get('masks'), Future):
                result['masks'] = result['masks'].result()
        truth = self._truth
        if truth is None:
            truth = self._truth = load_ground_truth(
                self.backend, dataset_from_instances(results, self.dataset_meta['classes']))
            self._check_masks()
        _complete_sizes(truth.content, truth, results)
        category_ids = [category['id'] for category in self.categories]
        with_masks = bool(results) and all('masks' in result for result in results)
        if 'segm' in self.metrics and results and not with_masks:
            raise InputError("CocoMetric: metric 'segm' is asked for, but the model predicts no "
                             "masks: leave it out, or use a model with a mask head")
        images = truth.content.image_ids
        if len(results) < len(images):
            logger.warning(f'results for {len(results)} of {len(images)} images of the '
                           'annotations: the objects of the others count as missed')
        detections = {'bbox': Detections.from_images(results, category_ids)}
        if with_masks:
            detections['segm'] = detections['bbox'].with_masks(results)
        if self.outfile_prefix is not None:
            for kind, columns in detections.items():
                Path(self.outfile_prefix).parent.mkdir(parents=True, exist_ok=True)
                columns.write(f'{self.outfile_prefix}.{kind}.json')
            logger.info(f'results are saved to {self.outfile_prefix}.*.json')
        if self.format_only:
            return {}
        if not len(detections['bbox']):
            logger.warning(f'no detections in {len(results)} images: every AP and AR is 0')

        log, evaluations = {}, {}
        for metric in self.metrics:
            logger.info(f'Evaluating {metric}...')
            if metric == 'proposal_fast':
                log.update(self._fast_recall(results, logger))
                continue
            kind = 'bbox' if metric == 'proposal' else metric
            curves = truth.evaluate(detections[kind], kind, images, category_ids,
                                    self.iou_thrs, self.proposal_nums, metric != 'proposal')
            figures = coco_figures(curves, self.iou_thrs, self.proposal_nums)
            logger.info('\n' + summary_table(figures, self.iou_thrs, self.proposal_nums))
            if metric == 'proposal':
                for item in self.metric_items or [name for name in FIGURES if 'AR' in name]:
                    log[item] = float(f'{figures[item]:.3f}')
                continue
            rows = class_figures(curves, self.iou_thrs)
            evaluations[metric] = (figures, rows, curves)
            if self.classwise:
                logger.info('\n' + class_table(rows, self.categories))
                for category in self.categories:
                    log[f'{category["name"]}_precision'] = _rounded(rows[category['id']]['AP'])
            for item in self.metric_items or list(FIGURES)[:6]:
                log[f'{metric}_{item}'] = _rounded(figures[item])
            logger.info(f'{metric}_mAP_copypaste: '
                        + ' '.join(f'{figures[name]:.3f}' for name in list(FIGURES)[:6]))
        if self.report and evaluations:
            FUNCTIONS.get('convnext_dense.write_detection_report')(
                report_folder(self.report_dir, logger), truth, self.categories, results, detections,
                evaluations, self.iou_thrs, self.proposal_nums, self.ann_file)
        return log

    def _fast_recall(self, results, logger):
        """mmdet's own class-agnostic recall of the proposals."""
        proposals = {result['img_id']: result['bboxes'] for result in results}
        content = self._known_truth.content
        corners = content.boxes.copy()
        corners[:, 2:] += corners[:, :2]
        counted = ~(content.ignored | content.crowds)
        none = np.zeros((0, 4))
        recalls = average_recalls(
            [corners[rows[counted[rows]]] for rows in content.by_image()],
            [proposals.get(image_id, none) for image_id in content.image_ids],
            self.proposal_nums, self.iou_thrs)
        logger.info('\n'.join(f'AR@{number}\t{recall:.4f}' for number, recall
                              in zip(self.proposal_nums, recalls, strict=True)))
        return {f'AR@{number}': recall
                for number, recall in zip(self.proposal_nums, recalls, strict=True)}


def _complete_sizes(content, truth, results):
    """Take the sizes that the annotation file does not state from the predictions."""
    if content.sizes.all():
        return
    for result in results:
        place = truth.place(result['img_id'])
        if not content.sizes[place].all():
            content.sizes[place] = result['size'][::-1]


def report_folder(folder: str | Path | None, logger: MMLogger) -> Path:
    """Folder for a report: ``folder``, or ``evaluation`` beside the run's log file."""
    if folder is None and logger.log_file:
        folder = Path(logger.log_file).parent / 'evaluation'
    if folder is None:
        folder = tempfile.mkdtemp(prefix='evaluation_')
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _check_names(option, names, known):
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f'CocoMetric: {option} {unknown[0]!r} is none of {", ".join(known)}')


def _check_numbers(limits, thresholds):
    if not limits or not all(isinstance(one, (int, np.integer)) and one > 0 for one in limits):
        raise InputError(f'CocoMetric: proposal_nums={limits}; give numbers of detections from 1 '
                         'on')
    if not thresholds.size or thresholds.dtype.kind not in 'fi' or not (
            (thresholds > 0) & (thresholds <= 1)).all():
        raise InputError(f'CocoMetric: iou_thrs={thresholds.tolist()}; give thresholds above 0 and '
                         'up to 1')


def _array(values):
    return values.numpy(force=True) if isinstance(values, torch.Tensor) else np.asarray(values)


def _rounded(value):
    # numpy's rounding, like mmdet: Python's differs at 0.2375
    return float(np.round(value, 3))
