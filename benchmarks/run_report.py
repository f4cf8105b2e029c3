"""What a training's report costs: seconds of the processor a validation and a page.

python -m benchmarks.run_report --images 40 --size 640
"""
import argparse
import json
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData

from convnext_dense.analysis.run_report import write_run_report
from convnext_dense.analysis.run_report.record import Record
from convnext_dense.analysis.run_report.validation import ValidationImages, chosen

CLASSES = 80
OBJECTS = 20  # annotated and found, each, in an image of a detector
STEPS = 3000  # lines of the log, as of 150,000 steps
LOSSES = 12


def detection(size: int, random: np.random.Generator):
    """mmdet's data sample of a square image, its objects with masks."""
    from mmdet.structures import DetDataSample
    sample = DetDataSample(metainfo=dict(ori_shape=(size, size), scale_factor=(1., 1.)))
    for name in ('gt_instances', 'pred_instances'):
        corners = random.uniform(0, .7 * size, (OBJECTS, 2))
        boxes = np.concatenate([corners, corners + random.uniform(20, .3 * size, (OBJECTS, 2))], 1)
        masks = torch.zeros(OBJECTS, size, size, dtype=torch.bool)
        for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int)):
            mask[top:bottom, left:right] = True
        setattr(sample, name, InstanceData(
            bboxes=torch.from_numpy(boxes).float(), masks=masks, labels=torch.from_numpy(
                random.integers(0, CLASSES, OBJECTS)), scores=torch.ones(OBJECTS)))
    return sample


def segmentation(size: int, random: np.random.Generator):
    """mmseg's data sample of a square image."""
    from mmseg.structures import SegDataSample
    sample = SegDataSample(metainfo=dict(ori_shape=(size, size)))
    for name in ('gt_sem_seg', 'pred_sem_seg'):
        cells = torch.from_numpy(random.integers(0, CLASSES, (8, 8)))
        data = cells.repeat_interleave(size // 8 + 1, 0).repeat_interleave(size // 8 + 1, 1)
        setattr(sample, name, PixelData(data=data[None, :size, :size]))
    return sample


def validate(make, images: int, size: int, work_dir: Path) -> dict[str, float]:
    """Seconds of the processor of a validation's images and of the page behind it."""
    random = np.random.default_rng(0)
    names = [f'class {index}' for index in range(CLASSES)]
    cfg = dict(val_dataloader=dict(dataset=dict(pipeline=[dict(type='LoadAnnotations')])))
    samples = [make(size, random) for _ in range(images)]
    coarse = random.integers(0, 256, (size // 32, size // 32, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)  # as smooth as photos
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    looked = ValidationImages(SimpleNamespace(metainfo=dict(classes=names)), cfg, 6, .3,
                              chosen(images, 4))
    start = time.process_time()
    for number, sample in enumerate(samples):
        sample.set_metainfo(dict(img_path=f'{number}.jpg'))
        looked.look(number, dict(inputs=[pixels]), [sample])
    record = Record(work_dir, 'run')
    record.append('validation', step=STEPS, **looked.write(record, STEPS))
    validation = time.process_time() - start
    start = time.process_time()
    write_run_report(work_dir)
    return dict(validation=validation, page=time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=40, help='of a validation')
    parser.add_argument('--size', type=int, default=640, help='side of the images in pixels')
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, make in (('detector', detection), ('segmenter', segmentation)):
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, 'log/vis_data/scalars.json')
            log.parent.mkdir(parents=True)
            log.write_text(''.join(json.dumps({'step': step, 'iter': step, 'time': .5, **{
                f'loss_{index}': 1 / step for index in range(LOSSES)}}) + '\n'
                for step in range(1, STEPS + 1)))
            Record(folder, 'run').append('start', log='log', step=0, facts={}, rates=[])
            seconds = validate(make, args.images, args.size, Path(folder))
            size = Path(folder, 'report.html').stat().st_size
        print(f'{name}: {args.images} images of {args.size} pixels {seconds["validation"]:.2f} s '
              f'({1000 * seconds["validation"] / args.images:.1f} ms an image), the page '
              f'{seconds["page"]:.2f} s and {size / 1e6:.2f} MB')


if __name__ == '__main__':
    main()
