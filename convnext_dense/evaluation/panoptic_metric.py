"""Panoptic quality (arXiv 1801.00868) for mmdet's panoptic segmenters, with mmdet's log keys."""
import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hotcoco.panoptic import PanopticEval
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from prettytable import PrettyTable

from convnext_dense.datasets.panoptic import segment_colours
from convnext_dense.datasets.panoptic_file import read_panoptic
from convnext_dense.errors import InputError, convert_errors
from convnext_dense.registry import METRICS

from .collect import collect_images, on_main_process

INSTANCE_OFFSET = 1000  # of mmdet: a pixel is its label + 1000 times the number of its instance
PARTS = dict(All='', Things='_th', Stuff='_st')
FIGURES = ('pq', 'sq', 'rq')


@METRICS.register_module()
class PanopticMetric(BaseMetric):
    """Panoptic, segmentation and recognition quality as panopticapi computes them, in percent.

    hotcoco computes them from COCO's panoptic format. An image without a prediction counts with
    all of its segments missed; an image that several processes have seen counts once.

    Args:
        ann_file (str): annotations in COCO's panoptic format.
        seg_prefix (str): folder of their PNG files.
        classwise (bool): log a table by class, and add ``<class>_PQ``.
        outfile_prefix (str, optional): keep the predictions as ``PREFIX.panoptic.json`` and PNG
            files in ``PREFIX.panoptic``.
        collect_device (str): ``cpu`` or ``gpu``, for collecting from the processes.
        prefix (str, optional): prefix of the log keys; ``coco_panoptic`` by default.

    Raises:
        InputError: annotations that cannot be used, or whose categories are not the classes.
    """
    default_prefix = 'coco_panoptic'

    def __init__(self, ann_file: str, seg_prefix: str, classwise: bool = False,
                 outfile_prefix: str | None = None, collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ann_file = ann_file
        self.seg_prefix = seg_prefix
        self.classwise = classwise
        self.outfile_prefix = outfile_prefix
        self._truth = read_panoptic(ann_file)
        self._file_names = {one['image_id']: one['file_name'] for one in self._truth.annotations}

    @property
    def dataset_meta(self) -> Any:
        """dict: of the data set, its ``classes`` above all."""
        return super().dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        """Set by the evaluator before any work: classes that are others are refused here."""
        BaseMetric.dataset_meta.fset(self, meta)
        if meta and meta.get('classes') is not None:
            self._categories = self._truth.categories_of(meta['classes'], 'PanopticMetric')

    def process(self, data_batch: Any, data_samples: Any) -> None:
        """Keep the segments of a batch of images.

        Args:
            data_batch: unused.
            data_samples (Sequence[dict]): ``img_id``, ``img_path`` and ``pred_panoptic_seg`` with
                ``sem_seg`` of shape (1, height, width), in the image's own size.
        """
        for sample in data_samples:
            if 'pred_panoptic_seg' not in sample:
                raise InputError('PanopticMetric: the model predicts no pred_panoptic_seg; set '
                                 'model.test_cfg.panoptic_on=True')
            if sample['img_id'] not in self._file_names:
                raise InputError(f'PanopticMetric: image {sample["img_path"]} has the id '
                                 f'{sample["img_id"]}, which {self.ann_file} does not have; give '
                                 'the annotations of the data set that is evaluated')
            labels = sample['pred_panoptic_seg']['sem_seg'][0].cpu().numpy()
            self.results.append(dict(img_id=sample['img_id'], **self._segments(labels)))

    def _segments(self, labels):
        """A prediction as PNG bytes and COCO's list of its segments."""
        found, areas = np.unique(labels, return_counts=True)
        kept = found % INSTANCE_OFFSET < len(self._categories)
        # 0 is no segment, but mmdet's number for stuff of label 0
        ids = np.where(np.isin(labels, found[kept]), labels + 1, 0)
        image = cv2.cvtColor(segment_colours(ids), cv2.COLOR_RGB2BGR)
        segments = [
            dict(id=int(number) + 1, area=int(area), iscrowd=0,
                 category_id=self._categories[number % INSTANCE_OFFSET]['id'])
            for number, area in zip(found[kept], areas[kept], strict=True)]
        return dict(png=cv2.imencode('.png', image)[1].tobytes(), segments=segments)

    def evaluate(self, size: int) -> dict:
        """The figures of all images that all processes have seen.

        Args:
            size (int): number of images in the data set.

        Returns:
            dict[str, float]: figures under their log keys, on every process.
        """
        results = collect_images(self.results, 'img_id', self.collect_device, self.collect_dir)
        self.results.clear()
        figures = on_main_process(lambda: self.compute_metrics(results or []))
        return {f'{self.prefix}/{key}' if self.prefix else key: value
                for key, value in figures.items()}

    def compute_metrics(self, results: list) -> dict:
        """The figures of collected results.

        Args:
            results (list[dict]): what ``process`` kept, each image once.

        Returns:
            dict[str, float]: figures without the prefix; those of things, or of stuff, are left
            out where the data set has none.
        """
        logger = MMLogger.get_current_instance()
        if len(results) < len(self._file_names):
            logger.warning(f'results for {len(results)} of {len(self._file_names)} images of the '
                           'annotations: the segments of the others count as missed')
        with self._folder() as folder, convert_errors(
                f'PanopticMetric: {self.ann_file} and the PNG files in {self.seg_prefix}',
                'correct the annotations of the image or segment that is named'):
            predicted = self._write(results, folder)
            evaluation = PanopticEval(self._truth.content, predicted, gt_folder=self.seg_prefix,
                                      pred_folder=str(folder))
            evaluation.evaluate()
            found = evaluation.results()
        figures = {f'{name.upper()}{suffix}': 100 * found[part][name]
                   for part, suffix in PARTS.items() if found[part]['n'] for name in FIGURES}
        logger.info('\n' + '\n'.join(evaluation.summary_lines()))
        if self.classwise:
            figures |= self._by_class(found['per_class'], logger)
        return figures

    def _by_class(self, rows, logger):
        table = PrettyTable(['category', *map(str.upper, FIGURES)], float_format='.3')
        for category in self._categories:
            row = rows[category['id']]
            table.add_row([category['name'], *(100 * row[name] for name in FIGURES)])
        logger.info(f'\n{table}')
        return {f'{one["name"]}_PQ': 100 * rows[one['id']]['pq'] for one in self._categories
                if rows[one['id']]['pq'] >= 0}

    @contextmanager
    def _folder(self):
        if self.outfile_prefix is None:
            with tempfile.TemporaryDirectory(prefix='panoptic_') as temporary:
                yield Path(temporary)
            return
        folder = Path(f'{self.outfile_prefix}.panoptic')
        folder.mkdir(parents=True, exist_ok=True)
        yield folder

    def _write(self, results, folder):
        """The predictions in COCO's format; images without one are all void."""
        by_id = {result['img_id']: result for result in results}
        sizes = {image['id']: (image['height'], image['width']) for image in self._truth.images}
        annotations = []
        for number, name in self._file_names.items():
            result = by_id.get(number)
            png = result['png'] if result else cv2.imencode(
                '.png', np.zeros((*sizes[number], 3), np.uint8))[1].tobytes()
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png)
            annotations.append(dict(image_id=number, file_name=name,
                                    segments_info=result['segments'] if result else []))
        predicted = dict(annotations=annotations)
        if self.outfile_prefix is not None:
            Path(f'{self.outfile_prefix}.panoptic.json').write_text(
                json.dumps(predicted), encoding='utf-8')
        return predicted
