"""A trained model as a function of images.

Longer than 300 lines: half of it are the docstrings of what a user calls.
"""
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate

from convnext_dense.checks.model_fit import check_num_classes
from convnext_dense.errors import InputError, convert_errors, is_out_of_memory
from convnext_dense.prediction.ahead import map_ahead
from convnext_dense.prediction.building import build_model
from convnext_dense.prediction.exported import ExportedModel, is_export
from convnext_dense.prediction.image_input import ImageInput
from convnext_dense.prediction.model_files import ModelFiles, find_model, pipeline_of_tests
from convnext_dense.prediction.results import (
    Instances,
    LabelMap,
    MaskCrop,
    Panoptic,
    Result,
    crop_mask,
)
from convnext_dense.prediction.tiles import Tile, join_label_maps, keep_best, tiles_of

READERS = 2  # threads that read images
TILE_IOU = .5  # boxes of one class in several tiles that overlap more are one object


class _Image(NamedTuple):
    """An image that was read: its pixels, its tiles, and what the network gets of each."""
    key: object
    pixels: np.ndarray | None
    path: str | None
    tiles: list
    inputs: list
    error: InputError | None = None


class Predictor:
    """A trained detector or segmenter.

    >>> predictor = Predictor('work_dirs/fruit')                            # doctest: +SKIP
    >>> predictor('photo.jpg').plot()                                       # doctest: +SKIP

    It may be used by several threads at once, which take turns on the network. Nothing outside of
    it is changed: no default scope, seed or number of threads.

    Args:
        model (str | Path): a work directory, one of its checkpoints, a config file, or a published
            name; see :func:`convnext_dense.prediction.model_files.find_model`. A work directory's
            resolved config is read as data; a config file is Python code, which runs. Or a folder
            that ``convnext-dense export`` wrote.
        weights (str | Path, optional): a path, URL or published name; a config file needs it.
        device (str, optional): ``cpu``, ``cuda`` or ``cuda:N``; by default the GPU if there is one.
        threshold (float): least score of the objects, in [0, 1]; 0 gives all that a test has.
        batch_size (int): images of one size that go through the network together.
        tile (int, optional): also look at the image in tiles of this many pixels a side; for
            large images with small objects.
        overlap (float): share of a tile's side that neighbours have in common, in [0, .9].
        runtime (str, optional): what computes an export, ``onnxruntime``, ``openvino`` or
            ``torch``; by default the one that it was made for.
        precision (str): ``float32``, or ``bf16``, which pays on GPUs and on CPUs with units for
            it; of an export with openvino only.

    Raises:
        InputError: the model cannot be built, its weights are another's, or an option is wrong.
    """

    def __init__(self, model: str | Path, weights: str | Path | None = None, *,
                 device: str | None = None, threshold: float = .3, batch_size: int = 1,
                 tile: int | None = None, overlap: float = .2, runtime: str | None = None,
                 precision: str = 'float32'):
        _check_options(threshold, batch_size, tile, overlap)
        if is_export(model):
            self._open_export(model, weights, device, runtime, precision)
        elif runtime:
            raise InputError(f'{model} is no export, which --runtime is for; make one: '
                             f'convnext-dense export {quote(str(model))} --to onnx')
        else:
            self.device = _device(device)
            files = find_model(model, weights)
            check_num_classes(files.cfg.model, files.names, f'{files.source} or its config')
            self._take(files, build_model(files, self.device, precision=precision), str(model))
        self.threshold, self.batch_size = threshold, batch_size
        self.tile, self.overlap = tile, overlap

    @classmethod
    def of_model(cls, files: ModelFiles, model: torch.nn.Module, *, threshold: float = .3,
                 batch_size: int = 1) -> 'Predictor':
        """A predictor of a model that was built before, on the CPU.

        Args:
            files (ModelFiles): what it was built from.
            model (nn.Module): in evaluation mode.
            threshold (float), batch_size (int): as of the class.
        """
        self = cls.__new__(cls)
        self.device = torch.device('cpu')
        self.threshold, self.batch_size, self.tile, self.overlap = threshold, batch_size, None, .2
        self._take(files, model, files.source)
        return self

    def _take(self, files, model, name):
        self.names, self.palette, self.source = files.names, files.palette, files.source
        self.input = ImageInput(pipeline_of_tests(files.cfg, name), files.cfg)
        self.model: Any = model
        self._network = threading.Lock()

    def _open_export(self, folder, weights, device, runtime, precision):
        if weights:
            raise InputError(f'{folder} is an export, which has its weights; leave {weights} out')
        if device not in (None, 'cpu'):
            raise InputError(f'device {device!r}: exports run on the CPU here; leave it out')
        model = ExportedModel(folder, runtime, precision)
        self.device = torch.device('cpu')
        self._take(ModelFiles(model.cfg, {}, str(folder), model.classes, model.palette), model,
                   str(folder))

    @property
    def task(self) -> str:
        """``instances`` for a detector, ``labels`` for a semantic or panoptic segmenter."""
        if isinstance(self.model, ExportedModel):
            return self.model.task
        return 'labels' if hasattr(self.model, 'decode_head') or self._is_panoptic else 'instances'

    @property
    def _is_panoptic(self):
        head = getattr(self.model, 'panoptic_fusion_head', None)
        return head is not None and bool((head.test_cfg or {}).get('panoptic_on', True))

    def __call__(self, images: Any) -> Any:
        """Predict.

        Args:
            images: one image, as :meth:`ImageInput.read` takes them: a path, an array in BGR
                order, a PIL image or an RGB tensor; or a list or tuple of images; or any other
                iterable of them, such as a generator.

        Returns:
            Instances | LabelMap for one image; a list of them for a list or tuple; a generator,
            which reads as it goes, for another iterable.

        Raises:
            InputError: an image cannot be read; the message names it.
        """
        if _is_image(images):
            return next(self.stream([images]))
        results = self.stream(images)
        return list(results) if isinstance(images, (list, tuple)) else results

    def stream(self, images: Iterable, on_error: Callable | None = None) -> Iterator[Result]:
        """Predict image by image, the next ones being read meanwhile.

        Args:
            images (Iterable): of images.
            on_error (Callable, optional): gets the image and the InputError for one that cannot be
                read, which is passed over. By default the error is raised.

        Yields:
            Instances | LabelMap: in the order of the images.
        """
        for _, result in self.stream_pairs(((image, image) for image in images), on_error):
            yield result

    def stream_pairs(self, pairs: Iterable[tuple],
                     on_error: Callable | None = None) -> Iterator[tuple]:
        """As :meth:`stream`, with whatever belongs to each image.

        Args:
            pairs (Iterable[tuple]): (anything, image).
            on_error (Callable, optional): gets (anything, InputError).

        Yields:
            tuple: (anything, Instances | LabelMap).
        """
        with ThreadPoolExecutor(READERS, thread_name_prefix='read') as pool:
            read = map_ahead(pool, self._read, pairs, READERS + self.batch_size)
            for image, outputs in self._run(_without_errors(read, on_error)):
                yield image.key, self._result(image, outputs)

    def _read(self, pair):
        key, source = pair
        try:
            pixels, path = self.input.read(source)
            tiles = self._tiles(*pixels.shape[:2])
            inputs = [self.input.pack(tile.crop(pixels), path) for tile in tiles]
        except InputError as error:
            return _Image(key, None, None, [], [], error)
        if len(tiles) > 1 and self.task == 'instances':
            whole = self.input.pack(pixels, path)
            if whole['inputs'].shape[1:] < pixels.shape[:2]:  # the pipeline makes it smaller
                tiles.append(Tile(0, 0, pixels.shape[1], pixels.shape[0]))
                inputs.append(whole)
        return _Image(key, pixels, path, tiles, inputs)

    def _tiles(self, height, width):
        if not self.tile:
            return [Tile(0, 0, width, height)]
        return tiles_of(height, width, self.tile, self.overlap)

    def _run(self, images):
        """Outputs of the network for each image: one data sample a tile."""
        waiting: list = []  # (image, its outputs so far), in order
        batch: list = []  # (inputs of a tile, the list that gets its output)
        for image in images:
            outputs: list = []
            waiting.append((image, outputs))
            for inputs in image.inputs:
                if batch and (len(batch) == self.batch_size or
                              batch[0][0]['inputs'].shape != inputs['inputs'].shape):
                    self._forward(batch)
                batch.append((inputs, outputs))
            if len(batch) == self.batch_size:
                self._forward(batch)
            while waiting and len(waiting[0][1]) == len(waiting[0][0].inputs):
                yield waiting.pop(0)
        if batch:
            self._forward(batch)
        yield from waiting

    def _forward(self, batch):
        data = pseudo_collate([inputs for inputs, _ in batch])
        with self._network, torch.no_grad(), convert_errors(
                f'the model of {self.source} fails on inputs of '
                f'{tuple(batch[0][0]["inputs"].shape)}', 'look at its config'):
            samples = self._network_step(data, len(batch), tuple(batch[0][0]['inputs'].shape))
        for (_, outputs), sample in zip(batch, samples):
            outputs.append(sample)
        batch.clear()

    def _network_step(self, data, number, shape):
        try:
            return self.model.test_step(data)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            changes = ['a smaller --batch (batch_size)'] * (number > 1) + [
                '--tile PIXELS (tile) for large images'] + ['--device cpu'] * (
                    self.device.type != 'cpu')
            raise InputError(f'the memory of {self.device} does not hold {number} inputs of '
                             f'{shape}: give {" or ".join(changes)}') from error

    # -- from the network's outputs to results -----------------------------------------------------

    def _result(self, image, samples):
        if 'pred_panoptic_seg' in samples[0]:
            return self._panoptic(image, samples)
        if 'pred_sem_seg' in samples[0]:
            return self._label_map(image, samples)
        if 'pred_instances' not in samples[0]:
            raise InputError(f'the model of {self.source} gives neither objects nor label maps, '
                             f'but {", ".join(samples[0].keys()) or "nothing"}; it is of a task '
                             'that prediction does not know')
        found = [self._instances(sample, tile) for sample, tile in zip(samples, image.tiles)]
        boxes, scores, labels = (np.concatenate([part[i] for part in found]) for i in range(3))
        crops = None if found[0][3] is None else [crop for part in found for crop in part[3]]
        result = Instances(image.pixels, image.path, self.names, self.palette, boxes, scores,
                           labels, crops)
        if len(image.tiles) == 1:
            return result
        tiles = [tile for tile, part in zip(image.tiles, found) for _ in part[0]]
        return result.take(keep_best(boxes, scores, labels, tiles, *result.size, TILE_IOU))

    def _instances(self, sample, tile):
        """Boxes, scores, labels and masks of one tile above the threshold, in image pixels."""
        found = sample.pred_instances
        found = found[found.scores >= self.threshold].cpu()
        boxes = found.bboxes.float().numpy() + np.array([tile.left, tile.top] * 2, np.float32)
        masks: list[MaskCrop] | None = None
        if 'masks' in found:
            masks = [mask.shifted(tile.left, tile.top) for mask in _crops(found.masks)]
        return boxes, found.scores.float().numpy(), found.labels.numpy(), masks

    def _panoptic(self, image, samples):
        if len(samples) > 1:
            raise InputError('a panoptic segmenter sees an image as a whole, since things of two '
                             'tiles cannot be told apart; leave --tile (tile) out')
        found = samples[0].pred_panoptic_seg.sem_seg[0].cpu().numpy()
        # mmdet's numbers: the label, and 1000 times the number of the thing
        labels = np.minimum(found % 1000, len(self.names)).astype(
            np.uint8 if len(self.names) < 256 else np.uint16)
        segments = np.where(labels < len(self.names), found + 1, 0).astype(np.int32)
        return Panoptic(image.pixels, image.path, self.names, self.palette, labels, segments)

    def _label_map(self, image, samples):
        maps = [sample.pred_sem_seg.data[0].cpu().numpy() for sample in samples]
        maps = [labels.astype(np.uint8 if len(self.names) <= 256 else np.uint16)
                for labels in maps]
        labels = maps[0] if len(maps) == 1 else join_label_maps(
            maps, image.tiles, *image.pixels.shape[:2])
        return LabelMap(image.pixels, image.path, self.names, self.palette, labels)


def _without_errors(images, on_error):
    for image in images:
        if image.error is None:
            yield image
        elif on_error is None:
            raise image.error
        else:
            on_error(image.key, image.error)


def _crops(masks):
    """Masks as a head gives them, in the image's size or as crops, without what is empty."""
    if isinstance(masks, list):
        return [crop_mask(mask).shifted(left, top) for left, top, mask in masks]
    return [crop_mask(mask) for mask in np.asarray(masks, bool)]


def _is_image(value):
    if isinstance(value, (str, os.PathLike, np.ndarray)):
        return True
    return hasattr(value, 'getexif') or hasattr(value, 'detach')


def _device(name):
    if name is None:
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InputError(f'device {name!r}: give cpu, cuda or cuda:N') from error
    if device.type not in ('cpu', 'cuda'):
        raise InputError(f'device {name!r}: give cpu, cuda or cuda:N')
    if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f'device {name!r}: torch {torch.__version__} finds '
                         f'{torch.cuda.device_count()} GPUs')
    return device


def _check_options(threshold, batch_size, tile, overlap):
    if not 0 <= threshold <= 1:
        raise InputError(f'threshold {threshold}: give a score in [0, 1]')
    if batch_size < 1:
        raise InputError(f'batch size {batch_size}: give a number from 1 on')
    if tile is not None and tile < 32:
        raise InputError(f'tile {tile}: give a side of at least 32 pixels')
    if not 0 <= overlap <= .9:
        raise InputError(f'overlap {overlap}: give a share of a tile in [0, 0.9]')
