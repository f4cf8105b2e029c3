"""Time and memory of a large evaluation: ``python -m benchmarks.large_evaluation``.

200,000 images with 1 million annotations and 2 million detected boxes of 80 classes by default.
Prints seconds (of the clock, of the CPU) and the peak memory above what the process held before.
"""
import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.evaluation import resident

CLASSES = 80


def write(path, images, annotations, seed=0):
    """Write an annotation file; returns boxes as corners, labels, scores, and each image's end."""
    rng = np.random.default_rng(seed)
    of = np.sort(rng.integers(0, images, annotations))
    corners = rng.uniform([0, 0], [500, 340], (annotations, 2))
    sides = np.exp(rng.uniform(np.log(8), np.log(130), (annotations, 2)))
    boxes = np.concatenate([corners, sides], 1).round(2)
    labels = rng.integers(0, CLASSES, annotations)
    path.write_text(json.dumps(dict(
        images=[dict(id=number + 1, width=640, height=480, file_name=f'{number + 1:012}.jpg')
                for number in range(images)],
        categories=[dict(id=number + 1, name=f'class {number}') for number in range(CLASSES)],
        annotations=[dict(id=number + 1, image_id=int(of[number]) + 1,
                          category_id=int(labels[number]) + 1, bbox=boxes[number].tolist(),
                          area=float(boxes[number, 2:].prod()), iscrowd=0)
                     for number in range(annotations)])))
    near = boxes + rng.normal(0, 3, boxes.shape) * [1, 1, 0, 0]
    found = np.concatenate([near, boxes[::-1]])  # one near each object, one on another image's
    found[:, 2:] += found[:, :2]
    of = np.concatenate([of, of])
    order = np.argsort(of, kind='stable')
    return (torch.from_numpy(found[order].astype(np.float32)),
            torch.from_numpy(np.concatenate([labels, labels])[order]),
            torch.from_numpy(rng.random(len(found)).astype(np.float32)),
            np.searchsorted(of[order], np.arange(images), 'right').tolist())


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=200_000)
    parser.add_argument('--annotations', type=int, default=1_000_000)
    args = parser.parse_args()
    from mmengine.logging import MMLogger

    from convnext_dense.evaluation import CocoMetric
    MMLogger.get_instance('benchmark', log_level='ERROR')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'annotations.json'
        boxes, labels, scores, ends = write(path, args.images, args.annotations)
        baseline = resident('VmRSS')
        Path('/proc/self/clear_refs').write_text('5')  # resets the peak, VmHWM

        def load():
            metric = CocoMetric(str(path))
            metric.dataset_meta = dict(classes=[f'class {number}' for number in range(CLASSES)])
            return metric

        def process():
            for number, (start, end) in enumerate(zip([0, *ends], ends), 1):  # noqa: B905
                metric.process(None, [dict(img_id=number, ori_shape=(480, 640), pred_instances=dict(
                    bboxes=boxes[start:end].clone(), scores=scores[start:end].clone(),
                    labels=labels[start:end].clone()))])

        metric = timed('load', load)
        timed('process', process)
        figures = timed('evaluate', lambda: metric.evaluate(len(ends)))
    print(f'peak memory: {resident("VmHWM") - baseline:.0f} MB above {baseline:.0f} MB; '
          f'bbox_mAP {figures["coco/bbox_mAP"]}')


def timed(name, call):
    start, cpu = time.perf_counter(), time.process_time()
    result = call()
    print(f'{name}: {time.perf_counter() - start:.1f} s, CPU {time.process_time() - cpu:.1f} s')
    return result


if __name__ == '__main__':
    main()
