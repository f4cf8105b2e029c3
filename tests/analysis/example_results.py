"""Work directories and benchmark files as the commands write them, made of random results."""
import json

import numpy as np

SIZE = 200
CLASSES = ('disc', 'ring', 'star')


def annotations(images=60, seed=0):
    """Ground truth in COCO's format, boxes of all three sizes and a few crowds."""
    rng = np.random.default_rng(seed)
    objects = []
    for image in range(1, images + 1):
        for _ in range(rng.integers(0, 8)):
            width, height = rng.uniform(8, 120, 2)
            left, top = rng.uniform(0, SIZE - 120, 2)
            objects.append(dict(
                id=len(objects) + 1, image_id=image, bbox=[left, top, width, height],
                category_id=int(rng.integers(1, len(CLASSES) + 1)), area=width * height,
                iscrowd=int(rng.random() < .05)))
    return dict(images=[dict(id=i + 1, width=SIZE, height=SIZE, file_name=f'{i}.png')
                        for i in range(images)],
                categories=[dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)],
                annotations=objects)


def detections(truth, found=.85, noise=.08, false=3, seed=1):
    """Detections in COCO's result format: most objects, displaced, and false ones."""
    rng = np.random.default_rng(seed)
    boxes = []
    for item in truth['annotations']:
        if rng.random() < found:
            left, top, width, height = item['bbox']
            shift = rng.normal(0, noise, 4) * [width, height, width, height]
            boxes.append(dict(image_id=item['image_id'], category_id=item['category_id'],
                              bbox=(np.array(item['bbox']) + shift).tolist(),
                              score=round(float(rng.uniform(.2, 1)), 3)))
    for image in truth['images']:
        for _ in range(rng.integers(0, 2 * false)):
            boxes.append(dict(image_id=image['id'], score=round(float(rng.uniform(0, .6)), 3),
                              category_id=int(rng.integers(1, len(CLASSES) + 1)),
                              bbox=rng.uniform(5, 90, 4).tolist()))
    return boxes


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_config(path, channels=8):
    """A detector of a few channels without published figures."""
    from mmengine.config import Config
    path.parent.mkdir(parents=True, exist_ok=True)
    widths = [channels * factor for factor in (1, 2, 3, 4)]
    Config(dict(default_scope='mmdet', model=dict(
        type='mmdet.RetinaNet',
        backbone=dict(type='convnext_dense.ConvNeXt',
                      arch=dict(depths=[1, 1, 1, 1], channels=widths)),
        neck=dict(type='mmdet.FPN', in_channels=widths, out_channels=8, num_outs=5),
        bbox_head=dict(type='mmdet.RetinaHead', num_classes=3, in_channels=8,
                       stacked_convs=1)))).dump(path)
    return path


def write_work_dir(folder, name, found, truth, channels=8, steps=(10, 20, 30), seed=1,
                   classes=CLASSES):
    """A work directory of a detector: config, learning curves and results."""
    write_config(folder / f'{name}.py', channels)
    evaluation = folder / '20260101_000000' / 'evaluation'
    ground = write_json(evaluation / 'annotations.json', truth)
    write_json(evaluation / 'detections.bbox.json', found)
    write_json(evaluation / 'detection.json', dict(
        format='convnext_dense.detection/1', annotations=ground.name,
        image_ids=[image['id'] for image in truth['images']],
        categories=[dict(id=i + 1, name=name) for i, name in enumerate(classes)],
        evaluations=dict(bbox=dict(detections='detections.bbox.json'))))
    rng = np.random.default_rng(seed)
    lines = [dict(loss=float(2 / step + rng.uniform(0, .1)), lr=.1, time=.5, step=step, iter=step)
             for step in range(1, steps[-1] + 1)]
    lines += [{'coco/bbox_mAP': .1 + step / 200 + (seed - 1) / 50, 'step': step}
              for step in steps]
    scalars = folder / '20260101_000000' / 'vis_data' / 'scalars.json'
    scalars.parent.mkdir(parents=True)
    scalars.write_text('\n'.join(json.dumps(line) for line in lines) + '\n')
    return folder


def benchmark_report(names, mode='inference'):
    """The content of a benchmark file."""
    last = ['post-processing'] if mode == 'inference' else ['backward', 'optimizer']
    return dict(
        machine=dict(cpu='a processor', cores=2, threads=2, memory_GiB=8.,
                     packages=dict(torch='2.13.0'), time='2026-01-01T00:00:00+00:00'),
        options=dict(size='160x160'),
        models=[dict(name=name, mode=mode, batch=1, rounds=5,
                     images_per_s=dict(median=10. + i, p10=9. + i, p90=11. + i),
                     latency_ms=dict(p50=100., p95=120., mean=101.),
                     stages_ms={'data': 5., 'backbone': 40., 'neck': 10., 'heads': 30.,
                                **dict.fromkeys(last, 8. + i)},
                     stages_over_whole=1., peak_memory_MiB=300. + 20 * i)
                for i, name in enumerate(names)])
