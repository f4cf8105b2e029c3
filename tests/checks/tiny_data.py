"""What the tiny data sets of the tests are made of."""
import numpy as np
from PIL import Image

CLASSES = ('disc', 'box')


def coco_content(images=3, classes=CLASSES, first=1):
    """A COCO file with one square of each class in every image, 32 x 24 pixels."""
    images = [dict(id=first + i, file_name=f'{first + i}.jpg', width=32, height=24)
              for i in range(images)]
    annotations = []
    for image in images:
        for number in range(len(classes)):
            x, y = 2 + 10 * number, 3
            annotations.append(dict(
                id=len(annotations) + 1, image_id=image['id'], category_id=number + 1,
                bbox=[x, y, 8, 8], area=64, iscrowd=0,
                segmentation=[[x, y, x + 8, y, x + 8, y + 8, x, y + 8]]))
    return dict(images=images, annotations=annotations,
                categories=[dict(id=i + 1, name=name) for i, name in enumerate(classes)])


def noise_image(seed, width=32, height=24):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))
