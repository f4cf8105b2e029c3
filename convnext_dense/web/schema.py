"""What the endpoint answers, as OpenAPI and the page know it."""
from typing import Literal

from pydantic import BaseModel, Field


class ModelClass(BaseModel):
    """A class of a model."""
    name: str
    colour: str = Field(description='#rrggbb')


class Model(BaseModel):
    """A model that is served."""
    name: str = Field(description='what the parameter model takes')
    task: Literal['instances', 'labels'] = Field(
        description='instances of a detector, labels of a semantic or panoptic segmenter')
    classes: list[ModelClass]


class Service(BaseModel):
    """The models, and what an upload may be."""
    models: list[Model]
    threshold: float = Field(description='least score of objects where a request names none')
    lowest: float = Field(description='least score that a request may ask for')
    max_bytes: int = Field(description='of an upload')
    max_pixels: int = Field(description='of an image')


class Mask(BaseModel):
    """Run lengths as COCO writes them, compressed; they run down the columns."""
    size: tuple[int, int] = Field(description='height and width of the image in pixels')
    counts: str


class Found(BaseModel):
    """An object; or, of a segmenter, a class that the image has or a panoptic segment."""
    label: int = Field(description='index into the classes of the model, from 0')
    name: str = Field(description='of the class')
    score: float | None = Field(description='in [0, 1]; null of a segmenter')
    box: tuple[float, float, float, float] = Field(
        description='left, top, right, bottom in pixels of the image')
    area: float = Field(description='pixels of the mask, or of the box where there is no mask')
    mask: Mask | None = Field(description='null of a detector without masks')


class ImageSize(BaseModel):
    """The image as the model read it: turned where EXIF says so."""
    name: str = Field(description='of the file that was sent')
    width: int
    height: int


class Prediction(BaseModel):
    """What a model found in an image."""
    model: str
    task: Literal['instances', 'labels', 'panoptic']
    image: ImageSize
    threshold: float | None = Field(description='least score of the objects; null of a segmenter')
    seconds: float = Field(description='from the file to the result, without waiting')
    objects: list[Found] = Field(description='by falling score; of a segmenter by class')
    label_map: str | None = Field(
        description='on request: PNG in base64, of 8 bits or, beyond 256 classes, 16: the label '
        'of each pixel; panoptic pixels of no segment have the number of classes')
    preview: str | None = Field(
        description='on request: the image as the model read it, JPEG in base64, with sides of at '
        'most 4096 pixels')


class Refusal(BaseModel):
    """Why there is no answer."""
    detail: str = Field(description='one line')
