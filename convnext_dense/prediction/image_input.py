"""Images as the model's own test pipeline reads them, from files and from memory."""
import os
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config

from convnext_dense.checks.image_checks import look_at_image
from convnext_dense.checks.image_files import MAX_PIXELS, explain, look_at_file
from convnext_dense.config_nodes import type_name
from convnext_dense.errors import InputError, in_one_line
from convnext_dense.prediction.building import build_transforms

#: steps that read what a test compares with
GROUND_TRUTH = ('Annotations', 'Annotation', 'Proposals', 'SemSegFiles')


class ImageInput:
    """The test pipeline of a config without ground truth, in two halves: reading, and the rest.

    Args:
        steps (list[dict]): settings of the pipeline; its first step reads the image.
        cfg (Config): the whole config.
    """

    def __init__(self, steps: list[dict], cfg: Config):
        kept = [dict(step) for step in steps
                if not str(type_name(step)).endswith(GROUND_TRUTH)]
        self.loader, *self.rest = build_transforms(kept, cfg)
        self._colour = getattr(self.loader, 'color_type', None) == 'color'
        self._max_pixels = (cfg.get('bad_images') or {}).get('max_pixels', MAX_PIXELS)
        self._float = getattr(self.loader, 'to_float32', False)

    def read(self, image: Any) -> tuple[np.ndarray, str | None]:
        """Read an image.

        Args:
            image (str | Path | ndarray | PIL.Image | Tensor): a file, which the pipeline's own
                loader reads as in training; or an array (H, W), (H, W, 3) or (H, W, 4) in BGR
                order, as OpenCV gives it; or a PIL image, which may have an EXIF orientation; or
                a tensor (1 or 3, H, W) in RGB order. Arrays and tensors are uint8, uint16, or
                tensors of floats in [0, 1].

        Returns:
            tuple[ndarray, str | None]: the image as the loader gives it, and its path.

        Raises:
            InputError: it cannot be read, or is none of these.
        """
        if isinstance(image, (str, os.PathLike)):
            path = os.fspath(image)
            return self._read_file(path), path
        pixels = as_array(image)
        if self._colour:
            pixels = to_colour(pixels)
        return pixels.astype(np.float32) if self._float else pixels, None

    def _read_file(self, path):
        problem = look_at_file(path, self._max_pixels)
        if problem is None:
            try:
                pixels = (self.loader(dict(img_path=path)) or {}).get('img')
            except Exception as error:  # decoders of broken files fail in every way
                raise InputError(f'{path} {explain(path, error).text}') from error
            if pixels is None:
                raise InputError(f'{path} is no image that the loader can decode')
            problem = look_at_image(pixels)
        if problem:
            raise InputError(f'{path} {problem.text}')
        return pixels

    def pack(self, pixels: np.ndarray, path: str | None = None) -> dict:
        """Run the pipeline after the loader.

        Args:
            pixels (ndarray): what :meth:`read` gave, or a part of it.
            path (str | None): of the file.

        Returns:
            dict: ``inputs`` (Tensor, (C, h, w)) and ``data_samples``, as in a test.

        Raises:
            InputError: a step of the pipeline fails on this image.
        """
        results = dict(img=pixels, img_path=path, img_id=0, img_shape=pixels.shape[:2],
                       ori_shape=pixels.shape[:2], seg_fields=[])
        for step in self.rest:
            try:
                results = step(results)
            except Exception as error:
                raise InputError(f'{path or "an image"} of {pixels.shape[1]}x{pixels.shape[0]} '
                                 f'pixels does not pass {type(step).__name__} of the test '
                                 f'pipeline: {in_one_line(error)}') from error
        return results


def as_array(image: Any) -> np.ndarray:
    """An image in memory as an array (H, W) or (H, W, C), its three or four colours in BGR(A).

    Raises:
        InputError: no image.
    """
    if isinstance(image, np.ndarray):
        pixels = image
    elif type(image).__module__.startswith('PIL.') or hasattr(image, 'getexif'):
        pixels = _from_pil(image)
    elif hasattr(image, 'detach'):
        pixels = _from_tensor(image)
    else:
        raise InputError(f'an image is a {type(image).__name__}; give a path, an array, a PIL '
                         'image or a tensor')
    if pixels.ndim not in (2, 3) or not pixels.size:
        raise InputError(f'an image has the shape {pixels.shape}; give (H, W) or (H, W, colours)')
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)  # as OpenCV reads 16 bits a colour
    return pixels


def to_colour(pixels: np.ndarray) -> np.ndarray:
    """Grey, BGR or BGRA of uint8 as BGR; alpha is dropped, as OpenCV's reader does.

    Raises:
        InputError: something else.
    """
    if pixels.dtype != np.uint8:
        raise InputError(f'an image is an array of {pixels.dtype}; give uint8 in [0, 255] or '
                         'uint16 in [0, 65535]')
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels == 1:
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_GRAY2BGR)
    if channels not in (3, 4):
        raise InputError(f'an image has {channels} channels ({pixels.shape}); give 1, 3 (BGR) or '
                         '4 (BGRA), the last axis of the array')
    return np.ascontiguousarray(pixels[:, :, :3])


def _from_pil(image):
    from PIL import ImageOps
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith('I;16'):
        return np.asarray(image).astype(np.uint16)
    return np.asarray(image.convert('RGB'))[:, :, ::-1]


def _from_tensor(image):
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise InputError(f'a tensor has the shape {tuple(image.shape)}; give one image as (3, H, '
                         'W) in RGB order')
    pixels = image.detach().cpu().numpy()
    if pixels.dtype.kind == 'f':
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):
            raise InputError(f'a tensor of floats has values from {low:.4g} to {high:.4g}; give '
                             'floats in [0, 1], or uint8')
        pixels = (pixels * 255).round().astype(np.uint8)
    return pixels.transpose(1, 2, 0)[:, :, ::-1]
