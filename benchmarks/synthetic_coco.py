"""Synthetic ground truth and detections of the size and kind of COCO's validation set."""
import numpy as np

CATEGORIES = 80
# COCO's median image
HEIGHT, WIDTH = 480, 640


def _outlines(centres, radii, rng, points=32):
    """Wobbly closed outlines, (n, points, 2) in pixels, clipped to the image."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    waves = rng.normal(size=(len(centres), 3, 1)) * np.array([0.12, 0.08, 0.05])[:, None]
    phases = rng.uniform(0, 2 * np.pi, (len(centres), 3, 1))
    wobble = 1 + (waves * np.cos(np.arange(2, 5)[:, None] * angles + phases)).sum(1)
    outline = centres[:, None] + (radii * wobble)[..., None] * np.stack(
        [np.cos(angles), 0.8 * np.sin(angles)], -1)
    return np.clip(outline, 0, [WIDTH, HEIGHT]).round(2)


def _boxes(outlines):
    """Bounding boxes of outlines, (n, 4) as x1, y1, x2, y2."""
    return np.concatenate([outlines.min(1), outlines.max(1)], 1)


def ground_truth(images=5000, annotations=36000, seed=0):
    """A COCO data set (dict): ``annotations`` polygons, one in 80 of them a crowd's RLE.

    Sizes are log-uniform, so that about 40 % of the objects are small, as in COCO.
    """
    from pycocotools import mask as rle
    rng = np.random.default_rng(seed)
    image_ids = np.sort(rng.integers(0, images, annotations))
    centres = rng.uniform([10, 10], [WIDTH - 10, HEIGHT - 10], (annotations, 2))
    radii = np.exp(rng.uniform(np.log(5), np.log(150), (annotations, 1)))
    outlines = _outlines(centres, radii, rng)
    categories = (rng.beta(0.6, 2.0, annotations) * CATEGORIES).astype(int)
    crowds = rng.random(annotations) < 1 / 80
    anns = []
    for i, outline in enumerate(outlines):
        polygon = [outline.ravel().tolist()]
        mask = rle.merge(rle.frPyObjects(polygon, HEIGHT, WIDTH))
        x1, y1, x2, y2 = _boxes(outline[None])[0].tolist()
        if crowds[i]:
            counts = np.diff(np.flatnonzero(np.diff(
                rle.decode(mask).ravel('F'), prepend=0, append=2)), prepend=0).tolist()
            polygon = {'size': [HEIGHT, WIDTH], 'counts': counts}
        anns.append({
            'id': i + 1, 'image_id': int(image_ids[i]) + 1, 'category_id': int(categories[i]) + 1,
            'bbox': [x1, y1, x2 - x1, y2 - y1], 'area': float(rle.area(mask)),
            'iscrowd': int(crowds[i]), 'segmentation': polygon})
    return {
        'images': [{'id': i + 1, 'width': WIDTH, 'height': HEIGHT, 'file_name': f'{i + 1:012}.jpg'}
                   for i in range(images)],
        'categories': [{'id': i + 1, 'name': f'class {i + 1}'} for i in range(CATEGORIES)],
        'annotations': anns}


def detections(dataset, per_image=100, seed=1):
    """``per_image`` detections an image: jittered copies of its objects, and false ones.

    Returns:
        list of (image id, boxes (n, 4) float32 x1 y1 x2 y2, scores (n,) float32, labels (n,)
        int64, list of n compressed RLEs).
    """
    from pycocotools import mask as rle
    rng = np.random.default_rng(seed)
    objects = {image['id']: [] for image in dataset['images']}
    for ann in dataset['annotations']:
        objects[ann['image_id']].append(ann)
    results = []
    for image_id, anns in objects.items():
        centres = rng.uniform([10, 10], [WIDTH - 10, HEIGHT - 10], (per_image, 2))
        radii = np.exp(rng.uniform(np.log(5), np.log(120), (per_image, 1)))
        labels = rng.integers(0, CATEGORIES, per_image)
        scores = rng.beta(0.5, 6, per_image)
        for row, ann in enumerate((anns * 3)[:per_image // 2]):
            x, y, w, h = ann['bbox']
            jitter = 0.08 * max(w, 4)
            centres[row] = np.array([x + w / 2, y + h / 2]) + rng.normal(0, jitter, 2)
            radii[row] = max(w, 4) / 2 * np.exp(rng.normal(0, 0.12))
            labels[row] = ann['category_id'] - 1 if rng.random() < 0.85 else labels[row]
            scores[row] = rng.beta(4, 2) if row < len(anns) else rng.beta(1, 4)
        order = np.argsort(-scores)
        outlines = _outlines(centres, radii, rng)[order]
        masks = rle.frPyObjects([o.ravel().tolist() for o in outlines], HEIGHT, WIDTH)
        results.append((image_id, _boxes(outlines).astype(np.float32),
                        scores[order].astype(np.float32), labels[order], masks))
    return results
