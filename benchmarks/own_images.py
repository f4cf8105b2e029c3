"""From nothing to annotated images: ``python -m benchmarks.own_images --pennfudan DIR --out DIR``.

Makes 18 photos with 165 people in COCO's format from Penn-Fudan (two or three of its photos side
by side in each), or with ``--camvid DIR`` 20 road scenes with colour masks and their table. Then
``new``, ``train`` and ``predict`` run as a person types them, and their seconds are printed, on the
clock and of the processor, with the last validation's figures.
"""
import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pycocotools.mask
from PIL import Image

PHOTOS, PEOPLE, SCENES = 18, 165, 20
COLOURS = {
    'sky': (128, 128, 128), 'building': (128, 0, 0), 'pole': (192, 192, 128),
    'road': (128, 64, 128), 'pavement': (0, 0, 192), 'tree': (128, 128, 0),
    'sign symbol': (192, 128, 128), 'fence': (64, 64, 128), 'car': (64, 0, 128),
    'pedestrian': (64, 64, 0), 'bicyclist': (0, 128, 192), 'Void': (0, 0, 0)}


def write_photos(root: Path, folder: Path) -> Path:
    """Write the photos of people and one COCO file; returns the folder of the images."""
    content = json.loads((root / 'annotations/instances_train2017.json').read_text())
    people = defaultdict(list)
    for annotation in content['annotations']:
        people[annotation['image_id']].append(annotation)
    chosen, left = [], PEOPLE
    for image in sorted(content['images'], key=lambda one: -len(people[one['id']])):
        if len(people[image['id']]) <= left:
            chosen.append(image)
            left -= len(people[image['id']])
    images = folder / 'images'
    images.mkdir(parents=True)
    coco: dict[str, list] = dict(images=[], annotations=[],
                                 categories=[dict(id=1, name='person')])
    for number in range(PHOTOS):
        name = f'photo_{number:02}.jpg'
        parts = chosen[number::PHOTOS]
        width, height = sum(one['width'] for one in parts), max(one['height'] for one in parts)
        page, left_edge = Image.new('RGB', (width, height)), 0
        for part in parts:
            page.paste(Image.open(root / 'train2017' / part['file_name']), (left_edge, 0))
            for annotation in people[part['id']]:
                coco['annotations'].append(_moved(annotation, part, left_edge, (height, width),
                                                  len(coco['annotations']) + 1, number))
            left_edge += part['width']
        page.save(images / name, quality=95)
        coco['images'].append(dict(id=number, file_name=name, width=width, height=height))
    (folder / 'annotations.json').write_text(json.dumps(coco))
    print(f'{PHOTOS} photos with {len(coco["annotations"])} people')
    return images


def _moved(annotation, image, by, size, number, page):
    """A person's annotation in the photo that its own became a part of."""
    shape = annotation['segmentation']
    if isinstance(shape, dict) and isinstance(shape['counts'], list):
        shape = pycocotools.mask.frPyObjects(shape, image['height'], image['width'])
    elif isinstance(shape, list):
        shape = pycocotools.mask.merge(pycocotools.mask.frPyObjects(
            shape, image['height'], image['width']))
    mask = np.zeros(size, np.uint8, order='F')
    mask[:image['height'], by:by + image['width']] = pycocotools.mask.decode(shape)
    rle = pycocotools.mask.encode(mask)
    x, y, width, height = annotation['bbox']
    return dict(id=number, image_id=page, category_id=1, iscrowd=0, area=int(mask.sum()),
                bbox=[x + by, y, width, height],
                segmentation=dict(size=rle['size'], counts=rle['counts'].decode()))


def write_scenes(root: Path, folder: Path) -> Path:
    """Write the road scenes, their colour masks and the table; returns the images' folder."""
    table = np.zeros((256, 3), np.uint8)  # 255, which is ignored, is black
    table[:len(COLOURS)] = list(COLOURS.values())
    files = sorted((root / 'images/training').glob('*.jpg'))
    for name in ('images', 'masks'):
        (folder / name).mkdir(parents=True)
    for path in files[::len(files) // SCENES][:SCENES]:
        shutil.copy(path, folder / 'images')
        labels = np.asarray(Image.open(root / 'annotations/training' / f'{path.stem}.png'))
        Image.fromarray(table[labels]).save(folder / 'masks' / f'{path.stem}.png')
    (folder / 'label_colors.txt').write_text(''.join(
        f'{red} {green} {blue}\t{name}\n' for name, (red, green, blue) in COLOURS.items()))
    return folder / 'images'


def run(*arguments: str) -> None:
    """Run a command, show what it took."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, '-m', 'convnext_dense', *arguments], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f'{arguments[0]}: {time.perf_counter() - start:.0f} s, of the processor '
          f'{after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.0f} s',
          flush=True)


def figures(work_dir: Path) -> Iterator[str]:
    """The figures of all validations."""
    from convnext_dense.analysis.scalars import read_scalars
    for run in read_scalars(work_dir):
        for line in run:
            if found := [f'{name} {line[name]}' for name in (
                    'coco/bbox_mAP_50', 'coco/bbox_mAP', 'coco/segm_mAP_50', 'mIoU')
                    if name in line]:
                yield f'step {line["step"]}: {", ".join(found)}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument('--pennfudan', type=Path, help='Penn-Fudan, laid out like COCO')
    data.add_argument('--camvid', type=Path, help='CamVid, laid out like ADE20K')
    parser.add_argument('--out', type=Path, required=True, help='folder to make')
    parser.add_argument('--steps', type=int, help='train only so many, to see that all runs')
    args = parser.parse_args()
    source, project = args.out / 'source', args.out / 'project'
    images = write_photos(args.pennfudan, source) if args.pennfudan else write_scenes(
        args.camvid, source)
    short = [] if args.steps is None else ['--cfg-options', *(
        f'{key}={args.steps}' for key in (
            'train_cfg.max_iters', 'train_cfg.val_interval', 'default_hooks.checkpoint.interval',
            'param_scheduler.0.total_steps'))]
    run('new', str(project), '--data', str(source), '--device', 'cpu', '--weights', 'none')
    run('train', str(project / 'config.py'), '--device', 'cpu', *short)
    run('predict', str(images), '--model', str(project / 'work_dir'), '--out',
        str(args.out / 'annotated'), '--device', 'cpu')
    print('\n'.join(figures(project / 'work_dir')))


if __name__ == '__main__':
    main()
