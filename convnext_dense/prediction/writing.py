"""Results as files: drawn images and videos, COCO JSON, label maps, CSV, YOLO's text files.

A writer's ``prepare`` makes what takes time (drawing, encoding) and may run in several threads;
its ``write`` gets what that made, image after image; ``close`` ends its files.
"""
import csv
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from convnext_dense.errors import InputError
from convnext_dense.prediction.results import LabelMap, Panoptic
from convnext_dense.prediction.sources import Frame

#: formats in which an annotated image is written under its own name
WRITABLE = ('.jpg', '.jpeg', '.png', '.webp', '.bmp')
JPEG_QUALITY = 92


def write_image(path: str | Path, pixels: np.ndarray) -> None:
    """Write an image file.

    Args:
        path (str | Path): its suffix names the format.
        pixels (ndarray): uint8 or uint16, (H, W) or (H, W, 3) in BGR order.

    Raises:
        InputError: unknown format, folder not writable, disk full.
    """
    path = Path(path)
    try:
        done, data = cv2.imencode(path.suffix, pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    except cv2.error as error:
        raise InputError(f'{path}: no image format is named {path.suffix!r}; use .jpg or '
                         '.png') from error
    if not done:
        raise InputError(f'{path} cannot be encoded as {path.suffix}')
    _write(path, data.tobytes())


def _write(path, data):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise InputError(f'{path} cannot be written: {error.strerror}') from error


def run_lengths(mask: np.ndarray) -> dict:
    """A mask of shape (H, W) in COCO's compressed run lengths, ready for JSON."""
    from convnext_dense.evaluation.rle import encode_masks
    rle = encode_masks(mask[None])[0]
    return dict(size=[int(side) for side in rle['size']], counts=rle['counts'].decode())


class Drawings:
    """Annotated images, and annotated videos beside them.

    Args:
        folder (Path): where they go.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder) / 'images'
        self._video: cv2.VideoWriter | None = None
        self._name: str | None = None

    def prepare(self, frame: Frame, result: Any) -> Any:
        drawn = result.plot()
        if frame.number is None:
            path = Path(frame.name)
            if path.suffix.lower() not in WRITABLE:
                path = path.with_name(f'{path.name}.jpg')
            write_image(self.folder / path, drawn)
            return None
        return drawn

    def write(self, frame: Frame, drawn: Any) -> None:
        if drawn is None:
            return
        if frame.source.name != self._name:
            self._video = self._open(frame, drawn)
        assert self._video is not None
        self._video.write(drawn)

    def _open(self, frame, drawn):
        self.close()
        path = self.folder / Path(frame.source.name).with_suffix('.mp4')
        path.parent.mkdir(parents=True, exist_ok=True)
        self._name = frame.source.name
        video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), frame.fps,
                                drawn.shape[1::-1])
        if not video.isOpened():
            raise InputError(f'{path}: OpenCV {cv2.__version__} cannot write this video; install '
                             'its build with FFmpeg, or leave images out of --save')
        return video

    def close(self) -> None:
        if self._video is not None:
            self._video.release()
        self._video = self._name = None


class LabelImages:
    """A segmenter's label maps: ``labels`` holds indices of classes, ``colours`` their colours.

    Of a panoptic segmenter ``segments`` holds the numbers of the segments, as COCO's PNG files do.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def prepare(self, frame: Frame, result: Any) -> Any:
        name = _file_of(frame, '.png')
        write_image(self.folder / 'labels' / name, result.labels)
        write_image(self.folder / 'colours' / name, result.coloured())
        if isinstance(result, Panoptic):
            from convnext_dense.datasets.panoptic import segment_colours
            write_image(self.folder / 'segments' / name,
                        segment_colours(result.segments)[..., ::-1])

    def write(self, frame: Frame, made: Any) -> None:
        """Nothing: the files are written."""

    def close(self) -> None:
        """Nothing: the files are written."""


class CocoFile:
    """One JSON in COCO's format: ``images``, ``categories``, and ``annotations`` with scores.

    The annotations wait in a temporary file, so that memory does not grow with the images.
    """

    def __init__(self, folder: str | Path, names: Sequence[str]):
        self.path = Path(folder) / 'coco.json'
        self.categories = [dict(id=index + 1, name=name) for index, name in enumerate(names)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._images, self._annotations = (tempfile.TemporaryFile('w+', dir=self.path.parent)
                                           for _ in range(2))
        self._counts = [0, 0]

    def prepare(self, frame: Frame, result: Any) -> Any:
        height, width = result.size
        return dict(file_name=frame.name, height=height, width=width), result.to_coco()

    def write(self, frame: Frame, made: Any) -> None:
        image, annotations = made
        self._counts[0] += 1
        self._add(self._images, dict(image, id=self._counts[0]))
        for annotation in annotations:
            self._counts[1] += 1
            self._add(self._annotations, dict(annotation, id=self._counts[1],
                                              image_id=self._counts[0]))

    @staticmethod
    def _add(file: IO[str], value: dict) -> None:
        file.write((',\n' if file.tell() else '') + json.dumps(value))

    def close(self) -> None:
        from convnext_dense.runtime.files import write_atomically

        def write(file):
            file.write(b'{"images": [\n')
            _copy(self._images, file)
            file.write(b'],\n"categories": ' + json.dumps(self.categories).encode() +
                       b',\n"annotations": [\n')
            _copy(self._annotations, file)
            file.write(b']}\n')
        write_atomically(self.path, write, durable=False)
        self._images.close()
        self._annotations.close()


def _copy(source, target):
    source.seek(0)
    while text := source.read(1 << 20):
        target.write(text.encode())


class CsvFile:
    """One table: a row an object, or a row for each class of a label map."""

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / 'predictions.csv'
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, 'w', newline='', encoding='utf-8', errors='backslashreplace')
        self._table = csv.writer(self._file)
        self._has_head = False

    def prepare(self, frame: Frame, result: Any) -> Any:
        if isinstance(result, LabelMap):
            head = ['image', 'class', 'pixels', 'share']
            rows = [[frame.name, result.names[label], int(result.pixels[label]),
                     f'{result.pixels[label] / result.labels.size:.6f}']
                    for label in np.flatnonzero(result.pixels).tolist()]
        else:
            head = ['image', 'class', 'score', 'x1', 'y1', 'x2', 'y2', 'mask_pixels']
            areas = [''] * len(result) if result.mask_crops is None else [
                int(crop.pixels.sum()) for crop in result.mask_crops]
            rows = [[frame.name, name, f'{score:.6f}', *(f'{value:.2f}' for value in box), area]
                    for name, score, box, area in zip(
                        result.class_names, result.scores, result.boxes, areas)]
        return head, rows

    def write(self, frame: Frame, made: Any) -> None:
        head, rows = made
        if not self._has_head:
            self._table.writerow(head)
            self._has_head = True
        self._table.writerows(rows)

    def close(self) -> None:
        self._file.close()


class YoloFiles:
    """One text file an image, as YOLO reads labels: with boxes, or with polygons of masks.

    Lines are ``class x y width height`` or ``class x1 y1 x2 y2 ...`` in parts of the image's
    sides. A mask in several pieces gives its largest one. ``classes.txt`` holds the names.
    """

    def __init__(self, folder: str | Path, names: Sequence[str]):
        self.folder = Path(folder) / 'yolo'
        _write(self.folder / 'classes.txt', ''.join(f'{name}\n' for name in names).encode())

    def prepare(self, frame: Frame, result: Any) -> Any:
        height, width = result.size
        scale = np.array([width, height], float)
        lines = []
        for index, (box, label) in enumerate(zip(result.boxes, result.labels)):
            if result.mask_crops is None:
                corners = box.reshape(2, 2) / scale
                values = np.concatenate([corners.mean(0), corners[1] - corners[0]])
            else:
                polygon = _outline(result.mask_crops[index])
                if polygon is None:
                    continue
                values = (polygon / scale).ravel()
            lines.append(f'{label} ' + ' '.join(f'{value:.6f}' for value in values))
        _write(self.folder / _file_of(frame, '.txt'), ''.join(f'{line}\n' for line in
                                                              lines).encode())

    def write(self, frame: Frame, made: Any) -> None:
        """Nothing: the files are written."""

    def close(self) -> None:
        """Nothing: the files are written."""


def _outline(crop):
    """The largest outer outline of a mask as points (N, 2) in pixels, or None without one."""
    if min(crop.pixels.shape) == 0:
        return None
    contours = cv2.findContours(crop.pixels.astype(np.uint8), cv2.RETR_EXTERNAL,
                                cv2.CHAIN_APPROX_SIMPLE, offset=(crop.left, crop.top))[0]
    largest = max(contours, key=cv2.contourArea)
    return largest[:, 0].astype(float) if len(largest) >= 3 else None


def _file_of(frame, suffix):
    """The name of an image's own label file, as tools pair them: the image's with that suffix."""
    if frame.number is None:
        return Path(f'{frame.source.stem}{suffix}')
    return Path(frame.source.name) / f'{frame.number:06d}{suffix}'
