"""Small random COCO data sets and detections with everything that cocoapi treats specially."""
import numpy as np
from pycocotools import mask as rle

HEIGHT, WIDTH = 120, 150


def rectangle(x, y, w, h):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order='F')
    mask[int(y):int(y + h), int(x):int(x + w)] = 1
    return mask


def random_dataset(rng, images=4, categories=3, objects=5, crowds=.2, ignored=.1):
    """Images without objects, categories without annotations, crowds, ``ignore`` flags, areas
    on the borders of small, medium and large, ids with gaps in no order."""
    image_ids = rng.permutation(50)[:images] + 1
    category_ids = rng.permutation(20)[:categories] + 1
    annotations = []
    for image_id in image_ids:
        for _ in range(rng.integers(0, objects + 1)):
            side = rng.choice([3, 32, 32, 96, 96, rng.integers(4, 110)])
            w, h = side, int(np.clip(side + rng.choice([0, 0, -1, 1, 7]), 1, 110))
            x, y = rng.integers(0, WIDTH - w), rng.integers(0, HEIGHT - h)
            crowd = bool(rng.random() < crowds)
            mask = rectangle(x, y, w, h)
            if rng.random() < .4:
                mask[rng.integers(0, HEIGHT):, :rng.integers(1, WIDTH)] = 0
            shape = rle.encode(mask)
            polygon = [[float(v) for v in (x, y, x + w, y, x + w, y + h, x, y + h)]]
            annotation = {
                'id': len(annotations) + 1, 'image_id': int(image_id),
                # the last category stays without annotations now and then
                'category_id': int(rng.choice(category_ids[:max(1, categories - 1)])),
                'bbox': [float(v) for v in (x, y, w, h)], 'area': float(w * h),
                'iscrowd': int(crowd),
                'segmentation': {'size': shape['size'], 'counts': shape['counts'].decode()}
                if crowd or rng.random() < .5 else polygon}
            if rng.random() < ignored:
                annotation['ignore'] = 1
            annotations.append(annotation)
    return {
        'images': [{'id': int(i), 'height': HEIGHT, 'width': WIDTH, 'file_name': f'{i}.jpg'}
                   for i in image_ids],
        'categories': [{'id': int(i), 'name': f'class {i}'} for i in category_ids],
        'annotations': annotations}


def random_images(rng, dataset, detections=12, levels=6):
    """Per-image results as CocoMetric keeps them: jittered objects and false detections, with
    scores from a few values, so that many tie."""
    labels = {category['id']: n for n, category in enumerate(dataset['categories'])}
    images = []
    for image in dataset['images']:
        objects = [ann for ann in dataset['annotations'] if ann['image_id'] == image['id']]
        count = int(rng.integers(0, detections + 1))
        boxes, picked = np.zeros((count, 4), np.float32), rng.integers(0, len(labels), count)
        masks = []
        for row in range(count):
            if objects and rng.random() < .7:
                ann = objects[rng.integers(len(objects))]
                x, y, w, h = ann['bbox']
                x, y = max(0, x + rng.integers(-4, 5)), max(0, y + rng.integers(-4, 5))
                w, h = max(1, w + rng.integers(-4, 5)), max(1, h + rng.integers(-4, 5))
                if rng.random() < .8:
                    picked[row] = labels[ann['category_id']]
            else:
                x, y, w, h = rng.integers(0, 60, 4) + [0, 0, 1, 1]
            boxes[row] = x, y, x + w + rng.choice([0, .5]), y + h
            masks.append(rle.encode(rectangle(x, y, w, h)))
        scores = (rng.integers(0, levels, count) / levels).astype(np.float32) if levels else \
            rng.random(count).astype(np.float32)
        images.append({'img_id': image['id'], 'size': (HEIGHT, WIDTH), 'bboxes': boxes,
                         'scores': scores, 'labels': picked, 'masks': masks})
    return images
