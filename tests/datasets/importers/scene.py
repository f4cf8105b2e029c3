"""One small scene of known objects, written in every format that the importers read."""
import json
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

CLASSES = ('apple', 'pear', 'plum')
COLOURS = ((0, 0, 0), (200, 30, 30), (30, 200, 30))
SIZE = (128, 64)  # width, height: powers of 2, whose shares are exact


class Thing(NamedTuple):
    """An object: its class, its box (x, y, w, h) and its polygon."""
    name: str
    box: tuple
    polygon: tuple


#: {image name: objects}; whole pixels, which every format holds without loss
SCENE = {
    'a.jpg': (Thing('apple', (4., 6., 16., 12.), (4., 6., 20., 6., 20., 18., 4., 18.)),
              Thing('pear', (30., 10., 20., 24.), (30., 10., 50., 10., 40., 34.))),
    'b.jpg': (Thing('plum', (1., 2., 8., 8.), (1., 2., 9., 2., 9., 10., 5., 10., 1., 6.)), ),
    'c.jpg': (Thing('apple', (40., 20., 16., 16.), (40., 20., 56., 20., 56., 36., 40., 36.)),
              Thing('apple', (8., 8., 12., 16.), (8., 8., 20., 8., 20., 24.)),
              Thing('plum', (24., 30., 10., 10.), (24., 30., 34., 30., 34., 40., 24., 40.))),
    'd.jpg': (Thing('pear', (16., 12., 32., 24.), (16., 12., 48., 12., 48., 36., 16., 36.)), ),
}


def write_images(folder, names=SCENE, size=SIZE):
    """Images of noise, each another."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)


def label_map(number):
    """Class numbers (H, W) of an image: blocks of all classes, and a row that is ignored."""
    rng = np.random.default_rng(100 + number)
    blocks = rng.integers(0, len(CLASSES), (SIZE[1] // 8, SIZE[0] // 8), np.uint8)
    labels = np.kron(blocks, np.ones((8, 8), np.uint8))
    labels[0] = 255
    labels[1, :3] = range(3)
    return labels


def coco(names=SCENE, masks=True, classes=CLASSES, prefix='', **image_keys):
    """The scene as the content of a COCO file."""
    images, annotations = [], []
    for number, name in enumerate(names):
        images.append(dict(dict(id=number + 1, file_name=prefix + name, width=SIZE[0],
                                height=SIZE[1]), **image_keys))
        for thing in SCENE[name]:
            entry = dict(id=len(annotations) + 1, image_id=number + 1, bbox=list(thing.box),
                         category_id=classes.index(thing.name) + 1, iscrowd=0,
                         area=thing.box[2] * thing.box[3])
            if masks:
                entry['segmentation'] = [list(thing.polygon)]
            annotations.append(entry)
    return dict(images=images, annotations=annotations,
                categories=[dict(id=number + 1, name=name) for number, name in enumerate(classes)])


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_coco(root, **kwargs):
    write_images(root / 'images')
    write_json(root / 'annotations' / 'instances_default.json', coco(**kwargs))


def yolo_line(thing, polygons):
    width, height = SIZE
    label = CLASSES.index(thing.name)
    if polygons:
        values = [value / (height if number % 2 else width)
                  for number, value in enumerate(thing.polygon)]
    else:
        x, y, w, h = thing.box
        values = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
    return f'{label} ' + ' '.join(map(repr, values))


def write_yolo(root, polygons=True, yaml=None):
    """As Ultralytics lays it out: images/{train,val}, labels/{train,val}, data.yaml."""
    for split, names in (('train', ['a.jpg', 'b.jpg', 'c.jpg']), ('val', ['d.jpg'])):
        write_images(root / 'images' / split, names)
        labels = root / 'labels' / split
        labels.mkdir(parents=True)
        for name in names:
            lines = [yolo_line(thing, polygons) for thing in SCENE[name]]
            (labels / name).with_suffix('.txt').write_text('\n'.join(lines) + '\n')
    (root / 'data.yaml').write_text(yaml or (
        'path: .\ntrain: images/train\nval: images/val\nnames:\n' + ''.join(
            f'  {number}: {name}\n' for number, name in enumerate(CLASSES))))


def write_voc(root, start=1):
    """As VOC has it: pixels counted from ``start``, the last one inside the box."""
    write_images(root / 'JPEGImages')
    for name, things in SCENE.items():
        objects = ''.join(
            f'<object><name>{thing.name}</name><difficult>0</difficult><bndbox>'
            f'<xmin>{x + start:g}</xmin><ymin>{y + start:g}</ymin>'
            f'<xmax>{x + w:g}</xmax><ymax>{y + h:g}</ymax></bndbox></object>'
            for thing in things for x, y, w, h in [thing.box])
        path = root / 'Annotations' / f'{Path(name).stem}.xml'
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'<annotation><folder>x</folder><filename>{name}</filename><size><width>'
                        f'{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>'
                        f'{objects}</annotation>')


def write_labelme(root):
    """Beside each image, as labelme saves it."""
    write_images(root)
    for name, things in SCENE.items():
        shapes = [dict(label=thing.name, group_id=None, shape_type='polygon', flags={},
                       points=np.reshape(thing.polygon, (-1, 2)).tolist()) for thing in things]
        write_json((root / name).with_suffix('.json'), dict(
            version='5.5.0', flags={}, shapes=shapes, imagePath=name, imageData=None,
            imageWidth=SIZE[0], imageHeight=SIZE[1]))


def write_cvat(root):
    """As "CVAT for images 1.1" documents it."""
    write_images(root / 'images')
    labels = ''.join(f'<label><name>{name}</name><color>#fa3253</color><type>any</type>'
                     '<attributes></attributes></label>' for name in CLASSES)
    images = []
    for number, (name, things) in enumerate(SCENE.items()):
        shapes = ''
        for thing in things:
            points = ';'.join(f'{x:.2f},{y:.2f}' for x, y in np.reshape(thing.polygon, (-1, 2)))
            shapes += (f'<polygon label="{escape(thing.name)}" source="manual" occluded="0" '
                       f'points="{points}" z_order="0"></polygon>')
        images.append(f'<image id="{number}" name="{name}" width="{SIZE[0]}" height="{SIZE[1]}">'
                      f'{shapes}</image>')
    (root / 'annotations.xml').write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><job>'
        f'<labels>{labels}</labels></job></meta>{"".join(images)}</annotations>')


def write_masks(root, colours=False, images='images', masks='masks', table=True, end=''):
    """Label maps of class numbers, or colours with class_dict.csv as CamVid's has it."""
    write_images(root / images)
    (root / masks).mkdir(parents=True)
    for number, name in enumerate(SCENE):
        labels = label_map(number)
        path = root / masks / f'{Path(name).stem}{end}.png'
        if colours:
            palette = np.full((256, 3), 64, np.uint8)
            palette[:3] = COLOURS
            Image.fromarray(palette[labels]).save(path)
        else:
            Image.fromarray(labels).save(path)
    if colours and table:
        (root / 'class_dict.csv').write_text('name,r,g,b\n' + ''.join(
            f'{name},{r},{g},{b}\n' for name, (r, g, b) in
            (*zip(CLASSES, COLOURS), ('Void', (64, 64, 64)))))
    elif table and not colours:
        (root / 'classes.txt').write_text('\n'.join(CLASSES))
