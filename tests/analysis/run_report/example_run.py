"""A work directory of a training as its report reads it, with a name that would be markup."""
import json

import cv2
import numpy as np

from convnext_dense.analysis.run_report.record import Record

LOG = '20261127_080000'
EVIL = '<img src=x onerror=alert(1)>.png'


def scalars(work_dir, *rows, log=LOG, tail=''):
    folder = work_dir / log / 'vis_data'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'scalars.json').write_text(''.join(json.dumps(row) + '\n' for row in rows) + tail)


def step(number, loss=1., **more):
    return dict(lr=.01, data_time=.1, time=.5, loss=loss, loss_cls=loss / 2, loss_bbox=loss / 4,
                iter=number, step=number, **more)


def drawing(work_dir, name):
    path = work_dir / 'report/images' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((40, 60, 3), 128, np.uint8))
    return f'report/images/{name}'


def whole_run(work_dir, run='abc'):
    """A run of 40 steps with two validations, a skipped step and a bad image."""
    record = Record(work_dir, run)
    record.append('start', log=LOG, step=0, rates=['neck ... bbox_head', 'backbone'], facts=dict(
        config='mine.py', model='MaskRCNN', batch=4, processes=2, max_iters=40, max_epochs=2,
        seed=7, started='2026-11-27 08:00:00', resumed='', monitor='coco/bbox_mAP',
        rule='greater'))
    for number in (10, 20, 30, 40):
        record.append('rates', step=number, rates=[1e-3 / number, 1e-4 / number], memory=900.)
    record.append('skipped', step=15, problem=f'the loss is NaN; images: {EVIL}')
    for number in (20, 40):
        record.append('validation', step=number, seconds=3., scored=8, samples=[dict(
            name=f'val/{EVIL}', file=drawing(work_dir, f'{number}.jpg'),
            truth=drawing(work_dir, 'truth.jpg'))],
            worst=[dict(name=EVIL, text='2 missed', file=drawing(work_dir, 'worst.jpg'))])
    record.append('end', step=40, state='finished', text='')
    scalars(work_dir, step(10, 4.), step(20, 3.), {'coco/bbox_mAP': .3, 'step': 1}, step(30, 2.),
            step(40, 1.), {'coco/bbox_mAP': .2, 'step': 2, 'time': .1, 'data_time': .05},
            tail='{"loss": 0.')
    (work_dir / 'bad_images.jsonl').write_text(''.join(json.dumps(entry) + '\n' for entry in (
        dict(file=EVIL, problem='is torn', used=False, size=10, run=run),
        dict(file='of another run', problem='is torn', used=False, size=10, run='other'))))
    return record
