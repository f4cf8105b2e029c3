"""The images of a validation that a report shows: a few fixed ones, and the worst."""
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from convnext_dense.analysis.run_report.drawing import (
    draw_mistakes,
    draw_prediction,
    draw_truth,
    network_image,
)
from convnext_dense.analysis.run_report.record import FOLDER, Record
from convnext_dense.analysis.run_report.worst import Worst, judge
from convnext_dense.classes import data_sets
from convnext_dense.config_nodes import type_name
from convnext_dense.files import write_image
from convnext_dense.prediction.colours import colours_of

QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 88)


def chosen(batches: int, count: int) -> list[int]:
    """The batches of a validation whose first image is drawn, evenly spread.

    Args:
        batches (int): of the validation.
        count (int): images to draw; fewer where there are fewer batches.
    """
    count = min(count, batches)
    return [index * batches // count for index in range(count)]


def truth_fits(pipeline: Sequence[Any]) -> bool:
    """Whether a pipeline loads annotations after resizing, so that they keep the file's pixels.

    Predictions have the size of the image's file, so these can be laid over each other.
    """
    kinds = [type_name(step) or '' for step in pipeline if isinstance(step, Mapping)]
    resized = [index for index, kind in enumerate(kinds) if 'Resize' in kind]
    loaded = [index for index, kind in enumerate(kinds) if kind.startswith('Load')
              and kind.endswith('Annotations')]
    return bool(loaded) and (not resized or loaded[-1] > resized[-1])


class ValidationImages:
    """Looks at the batches of one validation.

    Args:
        dataset: that is validated on; its ``metainfo`` names the classes.
        cfg (Mapping): of the run.
        worst (int): how many of the worst images are kept.
        score (float): least score of a drawn object.
        batches (Collection[int]): whose first image is drawn.
    """

    def __init__(self, dataset: Any, cfg: Mapping[str, Any], worst: int, score: float,
                 batches: Collection[int]) -> None:
        meta = dataset.metainfo
        self.names = [str(name) for name in meta.get('classes') or ()]
        palette = meta.get('palette')
        fits = isinstance(palette, (list, tuple)) and len(palette) == len(self.names)
        self.colours = colours_of(self.names, palette if fits else None)
        settings = next(iter(data_sets((cfg.get('val_dataloader') or {}).get('dataset'))), {})
        self.fits = truth_fits(settings.get('pipeline') or ())
        head = (cfg.get('model') or {}).get('decode_head')
        self.ignore_index = head.get('ignore_index', 255) if isinstance(head, Mapping) else 255
        self.score, self.batches = score, batches
        self.worst = Worst(worst if self.fits else 0)
        self.samples: list[tuple[str, Any, Any]] = []
        self.started = time.monotonic()

    def look(self, number: int, batch: Any, outputs: Sequence[Any]) -> None:
        """Look at a batch.

        Args:
            number (int): of the batch.
            batch (dict): as the data loader gave it, with ``inputs``.
            outputs (Sequence): the model's data samples.
        """
        pixels = batch.get('inputs') if isinstance(batch, Mapping) else None
        if pixels is None or not self.names:
            return
        for index, (image, sample) in enumerate(zip(pixels, outputs)):
            if not hasattr(sample, 'ori_shape') or getattr(image, 'ndim', 0) != 3:
                return
            name = str(getattr(sample, 'img_path', None) or f'image {number}')
            if not index and number in self.batches:
                self._draw(name, image, sample)
            if self.worst.most:
                self._judge(name, image, sample)

    def _draw(self, name, pixels, sample):
        image = network_image(pixels, sample)
        truth = draw_truth(image, sample, self.names, self.colours) if self.fits else None
        self.samples.append((name, truth, draw_prediction(
            image, sample, self.names, self.colours, self.score)))

    def _judge(self, name, pixels, sample):
        mistakes = judge(sample, self.names, self.ignore_index)
        self.worst.add(name, mistakes, lambda: draw_mistakes(
            network_image(pixels, sample), sample, mistakes, self.names, self.colours))

    def write(self, record: Record, step: int) -> dict[str, Any]:
        """Write the drawings beside a record.

        Args:
            record (Record): of the run.
            step (int): of the run.

        Returns:
            dict: of a line of the record: ``seconds``, ``samples`` with ``name``, ``file`` and
            ``truth`` (None where there is none), ``worst`` with ``name``, ``text`` and ``file``,
            and ``scored``, the number of images that were judged.

        Raises:
            OSError: one cannot be written.
        """
        folder = record.path.parent / 'images'
        folder.mkdir(parents=True, exist_ok=True)
        run = ''.join(letter for letter in record.run if letter.isalnum())[:8]
        samples = [dict(name=name, file=_write(folder, f'{run}_{step:07}_{place}', found),
                        truth=_write(folder, f'{run}_truth_{place}', truth))
                   for place, (name, truth, found) in enumerate(self.samples)]
        worst = [dict(name=name, text=text, file=_write(folder, f'{run}_worst_{place}', drawing))
                 for place, (name, text, drawing) in enumerate(self.worst.found())]
        return dict(samples=samples, worst=worst, scored=self.worst.seen,
                    seconds=round(time.monotonic() - self.started, 3))


def _write(folder: Path, stem: str, drawing: np.ndarray | None) -> str | None:
    """Write a drawing; its path below the work directory."""
    if drawing is None:
        return None
    write_image(folder / f'{stem}.jpg', drawing, QUALITY)
    return f'{FOLDER}/{folder.name}/{stem}.jpg'
