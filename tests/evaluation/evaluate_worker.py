"""One of several processes that evaluate together: ``evaluate_worker.py RANK WORLD FOLDER``."""
import json
import sys
from pathlib import Path

import numpy as np
import torch
from random_coco import random_dataset, random_images
from test_panoptic_metric import META, noisy_prediction, random_truth, write

from convnext_dense.errors import InputError
from convnext_dense.evaluation import CocoMetric, IoUMetric, PanopticMetric

# images of each process: uneven, one process without any, some images twice (padding)
SHARES = {1: [range(7)], 2: [[0, 1, 2, 3, 4], [6, 5, 0]], 3: [[4, 0, 2, 3, 1, 6], [], [5, 6, 0]]}


def coco_samples():
    rng = np.random.default_rng(4)
    dataset = random_dataset(rng, 7, 4, 8)
    images = random_images(rng, dataset, 30, 9)
    return dataset, [
        {'img_id': image['img_id'], 'ori_shape': image['size'], 'pred_instances': {
            'bboxes': torch.from_numpy(image['bboxes']), 'masks': image['masks'],
            'scores': torch.from_numpy(image['scores']),
            'labels': torch.from_numpy(image['labels'])}} for image in images]


def label_samples():
    rng = np.random.default_rng(1)
    samples = []
    for number in range(7):
        label = rng.integers(0, 5, (20, 30 + number)).astype(np.uint8)
        label[rng.random(label.shape) < .1] = 255
        samples.append({
            'pred_sem_seg': {'data': torch.from_numpy(rng.integers(0, 5, (1, *label.shape)))},
            'gt_sem_seg': {'data': torch.from_numpy(label)[None]}, 'img_path': f'{number}.jpg'})
    return samples


def panoptic_samples():
    rng = np.random.default_rng(2)
    truths = [random_truth(rng) for _ in range(7)]
    return truths, [
        {'img_id': number, 'img_path': f'{number}.jpg', 'pred_panoptic_seg': {
            'sem_seg': torch.from_numpy(noisy_prediction(rng, *truth))[None]}}
        for number, truth in enumerate(truths, 1)]


def run(metric, classes, samples):
    metric.dataset_meta = {'classes': classes}
    for sample in samples:
        metric.process(None, [sample])
    return metric.evaluate(7)


def main(rank, world, folder):
    torch.distributed.init_process_group('gloo', f'file://{folder}/rendezvous', rank=rank,
                                         world_size=world)
    share = SHARES[world][rank]
    dataset, samples = coco_samples()
    truths, panoptic = panoptic_samples()
    path, maps = Path('annotations.json'), Path('panoptic')
    if rank == 0:
        path.write_text(json.dumps(dataset))
        write(maps, truths)
    torch.distributed.barrier()
    logs = []
    for device in ('cpu', 'gpu'):
        logs.append(run(CocoMetric(ann_file=str(path), metric=['bbox', 'segm'],
                                   collect_device=device, report=True, report_dir='.'),
                        [category['name'] for category in dataset['categories']],
                        [samples[number] for number in share]))
        logs.append(run(IoUMetric(boundary=True, collect_device=device, report=True,
                                  report_dir='.'),
                        list('abcde'), [label_samples()[number] for number in share]))
        logs.append(run(PanopticMetric(f'{maps}.json', str(maps), classwise=True,
                                       collect_device=device),
                        META['classes'], [panoptic[number] for number in share]))
    # an error of the main process's computation reaches every process
    try:
        run(IoUMetric(), list('abcde'), [])
    except InputError as error:
        logs.append(str(error))
    Path(f'log{rank}.json').write_text(json.dumps(logs))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()  # or gloo's threads may abort the exit


if __name__ == '__main__':
    main(int(sys.argv[1]), int(sys.argv[2]), Path.cwd())
