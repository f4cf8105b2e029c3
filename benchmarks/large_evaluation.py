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

from benchmarks.measuring import reset_peak, resident

CLASSES = 80
BLOCK = 1000  # images whose results are made before the metric takes them


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
        reset_peak()

        def load():
            metric = CocoMetric(str(path))
            metric.dataset_meta = dict(classes=[f'class {number}' for number in range(CLASSES)])
            return metric

        def samples(first):
            return [dict(img_id=number + 1, ori_shape=(480, 640), pred_instances=dict(
                bboxes=boxes[start:end].clone(), scores=scores[start:end].clone(),
                labels=labels[start:end].clone())) for number, start, end in zip(
                    range(first, first + BLOCK), [0, *ends][first:], ends[first:])]  # noqa: B905

        metric, *seconds = timed(load)
        print(line('load', seconds))
        spent = np.zeros(2)
        for first in range(0, len(ends), BLOCK):
            block = samples(first)
            _, *seconds = timed(lambda block=block: [metric.process(None, [sample])
                                                     for sample in block])
            spent += seconds
        print(line('process', spent))
        figures, *seconds = timed(lambda: metric.evaluate(len(ends)))
        print(line('evaluate', seconds))
    print(f'peak memory: {resident("VmHWM") - baseline:.0f} MB above {baseline:.0f} MB; '
          f'bbox_mAP {figures["coco/bbox_mAP"]}')


def timed(call):
    start, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - start, time.process_time() - cpu


def line(name, seconds):
    return f'{name}: {seconds[0]:.1f} s, CPU {seconds[1]:.1f} s'


if __name__ == '__main__':
    main()
