"""Evaluation against mmdet's and mmseg's metrics: ``python -m benchmarks.evaluation``.

The outputs are compared first, then both sides are timed in turn. ``coco`` runs every measurement
in a process of its own, so that memory can be compared: the peak while the metric exists, above
what the process held with libraries and detections loaded.
"""
import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.measuring import reset_peak, resident
from benchmarks.synthetic_coco import HEIGHT, WIDTH, detections, ground_truth
from convnext_dense.cores import core_count

CLASSES = 150


def spread(values, unit='s'):
    return f'{median(values):.3g} {unit} ({min(values):.3g}-{max(values):.3g})'


def report(name, theirs, ours, unit='s'):
    """Print both medians and ranges, the ratio of the medians, and the range of the ratios."""
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    print(f'{name}: {spread(theirs, unit)} -> {spread(ours, unit)}, '
          f'{median(theirs) / median(ours):.1f}x ({min(ratios):.1f}-{max(ratios):.1f})')


def timed(call):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


# --- COCO ---------------------------------------------------------------------------------------

def coco_side(side, folder):
    """Evaluate in this process; prints one line of JSON: seconds, memory in MB, figures."""
    from mmengine.logging import MMLogger
    if side == 'mmdet':
        from mmdet.evaluation import CocoMetric
    else:
        from convnext_dense.evaluation import CocoMetric
    MMLogger.get_instance('benchmark', log_level='ERROR')
    classes = [f'class {n + 1}' for n in range(80)]
    results = pickle.loads((folder / 'results.pkl').read_bytes())
    samples = [{'img_id': image_id, 'ori_shape': (HEIGHT, WIDTH), 'pred_instances': {
        'bboxes': torch.from_numpy(boxes), 'scores': torch.from_numpy(scores),
        'labels': torch.from_numpy(labels), 'masks': masks}}
        for image_id, boxes, scores, labels, masks in results]
    baseline = resident('VmRSS')
    reset_peak()
    quiet, out = open(os.devnull, 'w'), sys.stdout
    sys.stdout = quiet
    metric = CocoMetric(ann_file=str(folder / 'annotations.json'), metric=['bbox', 'segm'])
    metric.dataset_meta = {'classes': classes}
    seconds = {}
    seconds['process'], _ = timed(lambda: [metric.process(None, [sample]) for sample in samples])
    before = time.process_time()
    seconds['compute'], figures = timed(lambda: metric.compute_metrics(metric.results))
    seconds['cpu'] = time.process_time() - before
    sys.stdout = out
    print(json.dumps({'seconds': seconds, 'memory': resident('VmHWM') - baseline,
                      'figures': {key: float(value) for key, value in figures.items()}}))


def coco(args):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        dataset = ground_truth(args.images, args.images * 36 // 5)
        (folder / 'annotations.json').write_text(json.dumps(dataset))
        (folder / 'results.pkl').write_bytes(pickle.dumps(detections(dataset)))
        print(f'COCO: {args.images} images, {len(dataset["annotations"])} annotations, 100 '
              'detections an image with masks; boxes and masks')
        runs = {'mmdet': [], 'ours': []}
        for _ in range(args.rounds):
            for side in runs:
                line = subprocess.run(
                    [sys.executable, '-m', 'benchmarks.evaluation', 'side', side, str(folder)],
                    check=True, capture_output=True, text=True).stdout.splitlines()[-1]
                runs[side].append(json.loads(line))
            theirs, ours = (runs[side][-1]['figures'] for side in runs)
            if theirs != ours:
                raise SystemExit(f'the figures differ: {theirs} and {ours}')
        print(f'  same figures under the same names: {len(ours)}, such as bbox_mAP '
              f'{ours["bbox_mAP"]}, segm_mAP {ours["segm_mAP"]}')
        for name, key in (('compute_metrics', 'compute'), ('process', 'process')):
            report(f'  {name}', *([run['seconds'][key] for run in runs[side]] for side in runs))
        report('  peak memory', *([run['memory'] for run in runs[side]] for side in runs), 'MB')


# --- RLE ----------------------------------------------------------------------------------------

def image_masks(count=100, seed=0):
    """Masks of one synthetic image, (count, 480, 640) bool."""
    from pycocotools import mask as rle
    dataset = ground_truth(1, 8, seed)
    return np.ascontiguousarray(
        rle.decode(detections(dataset, count, seed)[0][4]).transpose(2, 0, 1)).astype(bool)


def rle(args):
    from mmdet.structures.mask import encode_mask_results

    from convnext_dense.evaluation.rle import BackgroundEncoder, encode_masks
    images = [torch.from_numpy(image_masks(seed=seed)) for seed in range(8)]
    for masks in images:
        if encode_mask_results(masks.numpy()) != encode_masks(masks):
            raise SystemExit('the RLEs differ')
    print(f'RLE: 100 masks of {WIDTH}x{HEIGHT} an image, the same bytes')
    theirs, ours, submitted = [], [], []
    encoder = BackgroundEncoder()
    for masks in images * args.rounds:
        theirs.append(timed(lambda m=masks: encode_mask_results(m.detach().cpu().numpy()))[0])
        ours.append(timed(lambda m=masks: encode_masks(m))[0])
        seconds, future = timed(lambda m=masks: encoder.submit(m))
        future.result()
        submitted.append(seconds)
    report('  encoding', *([1000 * s for s in side] for side in (theirs, ours)), 'ms')
    print(f'  left on the critical path: {spread([1000 * s for s in submitted], "ms")}')


# --- ADE20K -------------------------------------------------------------------------------------

def label_maps(count, seed=0):
    """``count`` pairs of predicted (int64) and annotated (uint8) maps of ADE20K's sizes."""
    import cv2
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        # the short side of a validation image is mostly 256 to 683, the median 512x683
        height = int(rng.choice([256, 480, 512, 512, 512, 600]))
        width = int(height * rng.choice([1, 4 / 3, 4 / 3, 3 / 2]))
        coarse = rng.integers(0, CLASSES, (6, 8)).astype(np.uint8)
        label = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
        wrong = rng.random((24, 32)) < .2
        prediction = np.where(cv2.resize(wrong.astype(np.uint8), (width, height)) > 0,
                              rng.integers(0, CLASSES), label).astype(np.int64)
        label[:, :width // 20] = 255
        pairs.append((torch.from_numpy(prediction)[None], torch.from_numpy(label)[None]))
    return pairs


def iou(args):
    from mmengine.logging import MMLogger
    from mmseg.evaluation import IoUMetric as Theirs

    from convnext_dense.evaluation import IoUMetric as Ours
    MMLogger.get_instance('benchmark', log_level='ERROR')
    MMLogger.get_instance('mmengine', log_level='ERROR')
    distinct = label_maps(50)
    samples = [{'pred_sem_seg': {'data': prediction}, 'gt_sem_seg': {'data': label},
                'img_path': f'{number:06}.jpg'}
               for number, (prediction, label) in enumerate(distinct * (args.maps // 50))]

    def run(kind):
        metric = kind()
        metric.dataset_meta = {'classes': [f'class {n}' for n in range(CLASSES)]}
        seconds, _ = timed(lambda: [metric.process(None, [sample]) for sample in samples])
        counts = metric.results[:50]
        more, figures = timed(lambda: metric.evaluate(len(samples)))
        return seconds + more, figures, counts

    theirs, ours = [], []
    for _ in range(args.rounds):
        seconds, expected, their_counts = run(Theirs)
        theirs.append(seconds)
        seconds, figures, our_counts = run(Ours)
        ours.append(seconds)
        for areas, counts in zip(their_counts, our_counts, strict=True):
            same = counts['label'] == counts['prediction']
            for area, values, pixels in (
                    (areas[0], counts['label'][same], counts['pixels'][same]),
                    (areas[2], counts['prediction'], counts['pixels']),
                    (areas[3], counts['label'], counts['pixels'])):
                if not np.array_equal(area.numpy(), np.bincount(values, pixels, CLASSES)):
                    raise SystemExit('the counts of an image differ')
        if {key: round(float(value), 2) for key, value in expected.items()} != figures:
            raise SystemExit(f'the figures differ: {expected} and {figures}')
    print(f'IoU: {len(samples)} maps, {CLASSES} classes; the same counts and figures, such as '
          f'mIoU {figures["mIoU"]}')
    report('  process and compute_metrics', theirs, ours)


PARTS = {'coco': coco, 'rle': rle, 'iou': iou}


def main():
    if sys.argv[1:2] == ['side']:
        return coco_side(sys.argv[2], Path(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    # a list of choices would refuse the default, which is a list itself
    parser.add_argument('parts', nargs='*', metavar='coco|rle|iou', help='default: all')
    parser.add_argument('--images', type=int, default=5000, help='of the COCO part')
    parser.add_argument('--maps', type=int, default=2000, help='of the IoU part')
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f'{unknown.pop()} is none of {", ".join(PARTS)}')
    print(f'{core_count()} CPUs, {torch.get_num_threads()} threads, torch {torch.__version__}; '
          'median (smallest-largest), theirs -> ours')
    for name in args.parts or PARTS:
        PARTS[name](args)


if __name__ == '__main__':
    main()
