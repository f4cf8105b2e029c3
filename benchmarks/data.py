"""Time of each transform of the example configs on their real images.

    python -m benchmarks.data --pennfudan DIR --camvid DIR

Each image goes through the training pipeline once a round, in one process with OpenCV's threads
off, as a data worker does it. For Penn-Fudan the masks are loaded in both of mmdet's ways: drawn
when they are loaded (``poly2mask=True``), or left as polygons until a mask head asks for its RoIs
(``poly2mask=False``); the drawing for 8 RoIs an image and head, 3 heads, is then part of the work.
"""
import argparse
import copy
import time
from collections import defaultdict
from functools import cache
from statistics import median

import cv2
import numpy as np
import torch

CASCADE = 'configs/examples/cascade-mask-rcnn_convnextv2-atto_pennfudan.py'
UPERNET = 'configs/examples/upernet_convnextv2-atto_camvid.py'
ROIS, HEADS = 8, 3


def dataset(path, root, poly2mask=True):
    from mmengine.config import Config
    from mmengine.registry import DATASETS, init_default_scope

    from convnext_dense.config import set_data_root
    cfg = Config.fromfile(path)
    set_data_root(cfg, root)
    init_default_scope(cfg.default_scope)
    settings = cfg.train_dataloader.dataset
    for transform in settings.pipeline:
        if transform.get('with_mask'):
            transform.poly2mask = poly2mask
    return DATASETS.build(settings)


def measure(data, images, targets=False):
    """Milliseconds of each transform: lists over the images."""
    times = defaultdict(list)
    for index in range(min(images, len(data))):
        np.random.seed(index)
        sample = data.get_data_info(index)
        for transform in data.pipeline.transforms:
            begin = time.perf_counter()
            sample = transform(sample)
            times[type(transform).__name__].append(1e3 * (time.perf_counter() - begin))
        if targets:
            results = []
            for scope in ('mmdet', 'convnext_dense'):
                head = mask_head(scope)
                begin = time.perf_counter()
                results.append(draw_targets(head, sample['data_samples'].gt_instances, index))
                times[f'mask targets by {scope}'].append(1e3 * (time.perf_counter() - begin))
            if not torch.equal(*results):
                raise SystemExit(f'image {index}: the mask targets differ')
    return times


@cache
def mask_head(scope):
    from convnext_dense.registry import MODELS
    return MODELS.build(dict(type=f'{scope}.FCNMaskHead'))


def draw_targets(head, instances, seed):
    """Mask targets as the heads of a cascade draw them, of 28x28 for each RoI near an object."""
    from mmengine.config import ConfigDict
    from mmengine.structures import InstanceData
    boxes = instances.bboxes.tensor if hasattr(instances.bboxes, 'tensor') else instances.bboxes
    chosen = torch.arange(ROIS) % len(boxes)
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)[chosen]
    noise = torch.rand(HEADS, ROIS, 4, generator=torch.Generator().manual_seed(seed)) - .5
    return torch.cat([head.get_targets(
        [InstanceData(pos_priors=boxes[chosen] + .2 * sides * shift, pos_assigned_gt_inds=chosen)],
        [instances], ConfigDict(mask_size=28)) for shift in noise])


def report(title, rounds):
    print(f'{title}: ms an image, median over images of the median over {len(rounds)} rounds')
    total = 0.
    for name in rounds[0]:
        value = median(np.median([times[name] for times in rounds], axis=0))
        total += value
        print(f'  {name}: {value:.2f}')
    print(f'  sum: {total:.2f}')


def main():
    parser = argparse.ArgumentParser(prog='python -m benchmarks.data', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pennfudan', metavar='DIR')
    parser.add_argument('--camvid', metavar='DIR')
    parser.add_argument('--images', type=int, default=50)
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    sides = {}
    if args.pennfudan:
        for poly2mask in (True, False):
            sides[f'Penn-Fudan, poly2mask={poly2mask}'] = (
                dataset(CASCADE, args.pennfudan, poly2mask), True)
    if args.camvid:
        sides['CamVid'] = dataset(UPERNET, args.camvid), False
    results = {title: [] for title in sides}
    for _ in range(args.rounds):
        for title, (data, targets) in sides.items():
            results[title].append(copy.copy(measure(data, args.images, targets)))
    for title, rounds in results.items():
        report(title, rounds)


if __name__ == '__main__':
    main()
