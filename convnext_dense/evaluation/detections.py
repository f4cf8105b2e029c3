"""Detections of many images as columns, and COCO's results format."""
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from convnext_dense.datasets.coco_json import Id


@dataclass
class Detections:
    """Detections, image after image, the best score of an image not necessarily first.

    Attributes:
        image_ids, category_ids (numpy.ndarray): (n,) int64, or objects where they are texts or
            larger.
        boxes (numpy.ndarray): (n, 4) float64: left, top, width, height in pixels.
        scores (numpy.ndarray): (n,) float64.
        masks (list[dict] | None): n compressed RLEs; None for boxes only.
    """
    image_ids: np.ndarray
    category_ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    masks: list | None = None

    def __len__(self):
        return len(self.scores)

    @classmethod
    def from_images(cls, images: Sequence[dict], category_ids: Sequence[Id]) -> 'Detections':
        """Columns of the boxes in the per-image results that ``CocoMetric.process`` keeps.

        Args:
            images (list[dict]): ``img_id``, ``bboxes`` (n, 4) corners, ``scores``, ``labels``.
            category_ids (list[int | str]): category id of each label.
        """
        counts = [len(image['scores']) for image in images]
        labels = _join([image['labels'] for image in images], np.int64)
        corners = _join([image['bboxes'] for image in images], np.float64).reshape(-1, 4)
        corners[:, 2:] -= corners[:, :2]
        return cls(
            image_ids=np.repeat(id_array([p['img_id'] for p in images]), counts),
            category_ids=id_array(category_ids)[labels],
            boxes=corners, scores=_join([image['scores'] for image in images], np.float64))

    def with_masks(self, images: Sequence[dict]) -> 'Detections':
        """The same columns with masks, and with the scores of these where a detector has them.

        Args:
            images (list[dict]): those that the columns were made from, with ``masks`` and perhaps
                ``mask_scores``.
        """
        scores = [image.get('mask_scores', image['scores']) for image in images]
        return replace(self, scores=_join(scores, np.float64),
                       masks=[rle for image in images for rle in image['masks']])

    def records(self, with_boxes: bool = True) -> Iterator[dict[str, Any]]:
        """The detections as dicts in COCO's results format.

        Args:
            with_boxes (bool): False leaves ``bbox`` out, so that cocoapi takes a detection's
                area from its mask.
        """
        columns = [self.image_ids.tolist(), self.category_ids.tolist(), self.boxes.tolist(),
                   self.scores.tolist()]
        for row, (image, category, box, score) in enumerate(zip(*columns, strict=True)):
            record = {'image_id': image, 'category_id': category, 'score': score}
            if with_boxes or self.masks is None:
                record['bbox'] = box
            if self.masks is not None:
                record['segmentation'] = self.masks[row]
            yield record

    def write(self, path: str | Path) -> None:
        """Write the detections to a JSON file in COCO's results format, one a line."""
        with open(path, 'w') as file:
            file.write('[')
            for row, record in enumerate(self.records()):
                if self.masks is not None:
                    rle = record['segmentation']
                    record['segmentation'] = {'size': rle['size'], 'counts': _text(rle['counts'])}
                file.write(',\n' if row else '\n')
                file.write(json.dumps(record))
            file.write('\n]\n')


def id_array(values: Sequence[Id]) -> np.ndarray:
    """Ids as an array: numpy would make texts of numbers beside texts, floats of large numbers."""
    if all(isinstance(value, (int, np.integer)) and -1 << 63 <= value < 1 << 63
           for value in values):
        return np.array(values, np.int64)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _join(arrays, dtype):
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros(0, dtype)


def _text(counts):
    return counts.decode() if isinstance(counts, bytes) else counts
