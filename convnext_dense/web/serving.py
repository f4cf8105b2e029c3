"""A model that is served: an image file in, what the endpoint answers out."""
import base64
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from time import perf_counter
from typing import TYPE_CHECKING, Literal, NamedTuple

import cv2
import numpy as np

from convnext_dense.errors import InputError
from convnext_dense.prediction.colours import colours_of
from convnext_dense.prediction.drawing import as_canvas
from convnext_dense.prediction.results import Instances, LabelMap, Panoptic
from convnext_dense.web.schema import Found, ImageSize, Mask, Model, ModelClass, Prediction

if TYPE_CHECKING:
    from convnext_dense.prediction.predictor import Predictor

PREVIEW_SIDE = 4096  # pixels
PREVIEW_QUALITY = 90  # of JPEG


class Wanted(NamedTuple):
    """What a request asks for.

    Attributes:
        threshold (float): least score of objects.
        label_map (bool), preview (bool): whether the answer has them.
    """
    threshold: float
    label_map: bool = False
    preview: bool = False


class ServedModel:
    """A model with the name that requests give.

    Args:
        name (str): of the model.
        predictor (Predictor): whose threshold is the lowest that may be asked for.
    """

    def __init__(self, name: str, predictor: 'Predictor'):
        self.name, self.predictor = name, predictor

    def describe(self) -> Model:
        """The model for those who ask what is served."""
        names = self.predictor.names
        colours = colours_of(names, self.predictor.palette)
        return Model(name=self.name, task=self.predictor.task, classes=[  # type: ignore[arg-type]
            ModelClass(name=name, colour=f'#{red:02x}{green:02x}{blue:02x}')
            for name, (blue, green, red) in zip(names, colours)])

    def predict(self, path: str | os.PathLike, name: str, wanted: Wanted) -> bytes:
        """Predict an image file.

        Args:
            path (str | PathLike): of the file.
            name (str): what messages call it.
            wanted (Wanted): what the answer has.

        Returns:
            bytes: a :class:`Prediction` as JSON.

        Raises:
            InputError: the image cannot be read, or the model fails on it.
        """
        begin = perf_counter()
        path = os.fspath(path)
        try:
            result = self.predictor(path)
        except InputError as error:
            raise InputError(str(error).replace(path, name)) from error
        is_instances = isinstance(result, Instances)
        height, width = result.size
        return Prediction(
            model=self.name, task=task_of(result),
            image=ImageSize(name=name, width=width, height=height),
            threshold=wanted.threshold if is_instances else None,
            objects=found(result.above(wanted.threshold) if is_instances else result),
            label_map=encode('.png', result.labels) if wanted.label_map and isinstance(
                result, LabelMap) else None,
            preview=preview(result.image) if wanted.preview else None,
            seconds=perf_counter() - begin).model_dump_json().encode()


def task_of(result: Instances | LabelMap) -> Literal['instances', 'labels', 'panoptic']:
    """The kind of a result."""
    return 'instances' if isinstance(result, Instances) else 'panoptic' if isinstance(
        result, Panoptic) else 'labels'


def found(result: Instances | LabelMap) -> list[Found]:
    """The objects of a detector's result by falling score, the classes or segments of others."""
    annotations = result.to_coco(category_ids=range(len(result.names)))
    if isinstance(result, Instances):
        boxes = result.boxes.tolist()
    else:
        boxes = [[left, top, left + width, top + height] for left, top, width, height in (
            annotation['bbox'] for annotation in annotations)]
    objects = [
        Found(label=annotation['category_id'], name=result.names[annotation['category_id']],
              score=annotation.get('score'), box=box, area=annotation['area'],
              mask=Mask(**annotation['segmentation']) if 'segmentation' in annotation else None)
        for annotation, box in zip(annotations, boxes)]
    return sorted(objects, key=lambda one: -(one.score or 0))


def preview(image: np.ndarray) -> str:
    """An image as the model read it, as JPEG in base64, made smaller where a side is longer than
    ``PREVIEW_SIDE``."""
    canvas = as_canvas(image)
    scale = PREVIEW_SIDE / max(canvas.shape[:2])
    if scale < 1:
        size = [max(round(side * scale), 1) for side in canvas.shape[1::-1]]
        canvas = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return encode('.jpg', canvas)


def encode(suffix: str, pixels: np.ndarray) -> str:
    """An image file in base64."""
    done, data = cv2.imencode(suffix, pixels, [cv2.IMWRITE_JPEG_QUALITY, PREVIEW_QUALITY])
    if not done:
        raise InputError(f'an image of {pixels.shape} cannot be encoded as {suffix}')
    return base64.b64encode(data.tobytes()).decode()


def short_names(models: Sequence[str | Path]) -> list[str]:
    """What models are called: as few of the last parts of their paths as tell them apart.

    Raises:
        InputError: two are the same.
    """
    parts = [PurePath(os.path.normpath(Path(model).expanduser().absolute())).parts
             for model in models]
    if len(set(parts)) < len(parts):
        raise InputError(f'{models[-1]} is given twice; give two models to compare them')
    for depth in range(1, max(map(len, parts)) + 1):
        names = ['/'.join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return names
