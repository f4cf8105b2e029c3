"""Servers in a thread of the test, and predictors that answer at once or when they are told to."""
import hashlib
import json
import threading
import time
from contextlib import contextmanager

import cv2
import numpy as np
from pycocotools.mask import decode, frPyObjects, merge

from convnext_dense.errors import InputError
from convnext_dense.prediction.results import Instances, LabelMap, crop_mask
from convnext_dense.web.app import Limits, build_app
from convnext_dense.web.server import build_server, listen


class Standing:
    """A server in a thread.

    Attributes:
        url (str): of its page.
        app (FastAPI): what it serves.
    """

    def __init__(self, url, app):
        self.url, self.app = url, app

    def uploads(self):
        """Files that were uploaded and are still there."""
        return list(self.app.state.uploads.iterdir())


@contextmanager
def standing(models, limits=Limits(), **options):
    """Serve models in a thread while the context lasts."""
    app = build_app(models, limits, **options)
    with listen('127.0.0.1', 0) as listening:
        server = build_server(app)
        thread = threading.Thread(target=server.run, kwargs=dict(sockets=[listening]))
        thread.start()
        while not server.started:
            time.sleep(.001)
        try:
            yield Standing(f'http://127.0.0.1:{listening.getsockname()[1]}/', app)
        finally:
            server.should_exit = True
            thread.join(30)


class OneObject:
    """Finds one object, of score 0.8, in the upper left quarter of any image.

    Attributes:
        seen (list): heights of the images, in the order in which they came.
    """
    names, palette, task, source = ('thing', ), None, 'instances', 'one.pth'

    def __init__(self):
        self.seen = []

    def __call__(self, path):
        image = cv2.imread(path)
        if image is None:
            raise InputError(f'{path} is no image that the loader can decode')
        self.seen.append(image.shape[0])
        height, width = image.shape[:2]
        return Instances(image, path, self.names, None,
                         np.float32([[0, 0, width / 2, height / 2]]), np.float32([.8]),
                         np.array([0]))


class Waiting(OneObject):
    """Begins when ``begun`` can be acquired, and ends when ``go`` is set."""

    def __init__(self):
        super().__init__()
        self.begun, self.go = threading.Semaphore(0), threading.Event()

    def __call__(self, path):
        self.begun.release()
        assert self.go.wait(30)
        return super().__call__(path)


class Failing(OneObject):
    """Has a fault of its own on images of 13 rows."""

    def __call__(self, path):
        result = super().__call__(path)
        if result.image.shape[0] == 13:
            raise RuntimeError('a fault\nof two lines')
        return result


class Truth:
    """Finds in the embedded images of shapes what is annotated there, with falling scores.

    Args:
        folder (Path): where the shapes were drawn.
        task (str): instances or labels.
    """
    palette, source = None, 'truth.pth'

    def __init__(self, folder, task):
        self.task = task
        content = json.loads((folder / 'annotations/instances_validation.json').read_text())
        kinds = [one['name'] for one in content['categories']]
        self.names = tuple(kinds if task == 'instances' else ['background', *kinds])
        self._known = {}
        for image in content['images']:
            path = folder / 'images/validation' / image['file_name']
            mine = [one for one in content['annotations'] if one['image_id'] == image['id']]
            labels = cv2.imread(str(folder / 'annotations/validation' / path.with_suffix(
                '.png').name), cv2.IMREAD_UNCHANGED)
            self._known[hashlib.md5(path.read_bytes()).hexdigest()] = mine, labels

    def __call__(self, path):
        image = cv2.imread(path)
        with open(path, 'rb') as file:
            annotations, labels = self._known[hashlib.md5(file.read()).hexdigest()]
        if self.task == 'labels':
            return LabelMap(image, path, self.names, None, np.maximum(labels, 1) - 1)
        boxes = np.float32([one['bbox'] for one in annotations])
        boxes[:, 2:] += boxes[:, :2]
        return Instances(
            image, path, self.names, None, boxes,
            np.linspace(.95, .15, len(boxes), dtype=np.float32),
            np.array([one['category_id'] - 1 for one in annotations]),
            [crop_mask(mask_of(one, *image.shape[:2])) for one in annotations])


def mask_of(annotation, height, width):
    """The mask of a COCO annotation: bool, (height, width)."""
    segmentation = annotation['segmentation']
    if isinstance(segmentation, list):
        segmentation = merge(frPyObjects(segmentation, height, width))
    elif isinstance(segmentation['counts'], list):
        segmentation = frPyObjects(segmentation, height, width)
    return decode(segmentation).astype(bool)
