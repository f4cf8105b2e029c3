"""Breaks images of a COCO data set in ten ways."""
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image


def _encode(image, **settings):
    buffer = io.BytesIO()
    image.save(buffer, **settings)
    return buffer.getvalue()


def _sixteen(path):
    import cv2
    image = cv2.imread(str(path))
    path.write_bytes(cv2.imencode('.png', image.astype(np.uint16) * 257)[1].tobytes())


def _folder(path):
    path.unlink()
    path.mkdir()


FILES = {
    'is an empty file': lambda path: path.write_bytes(b''),
    'is truncated': lambda path: path.write_bytes(path.read_bytes()[:-len(path.read_bytes()) // 3]),
    'is a PNG image by content': lambda path: path.write_bytes(
        _encode(Image.open(path), format='PNG')),
    'has CMYK colours': lambda path: path.write_bytes(
        _encode(Image.open(path).convert('CMYK'), format='JPEG')),
    'has 16 bits a channel': _sixteen,
    'has 1x1 pixels': lambda path: path.write_bytes(
        _encode(Image.open(path).resize((1, 1)), format='JPEG')),
    'is missing': lambda path: path.unlink(),
    'is a folder, expected an image': _folder,
}
ANNOTATIONS = ('its annotation says', 'has a box of no area')
#: problems of images that are used all the same
USED = ('is a PNG image by content', 'has CMYK colours', 'has 16 bits a channel',
        'has a box of no area')
PROBLEMS = (*FILES, *ANNOTATIONS)


def break_images(annotation_file, folder, indices, problems=PROBLEMS):
    """Break the images at some indices of an annotation file, each in its own way.

    Returns:
        dict: problem by path.
    """
    annotation_file, folder = Path(annotation_file), Path(folder)
    content = json.loads(annotation_file.read_text())
    broken = {}
    for problem, index in zip(problems, indices):
        image = content['images'][index]
        path = folder / image['file_name']
        broken[str(path)] = problem
        if problem in FILES:
            FILES[problem](path)
        elif problem == 'its annotation says':
            image['width'], image['height'] = image['width'] + 40, image['height'] + 30
        else:
            own = [annotation for annotation in content['annotations']
                   if annotation['image_id'] == image['id']]
            own[0]['bbox'][2:] = [0, 0]
    annotation_file.write_text(json.dumps(content))
    return broken
