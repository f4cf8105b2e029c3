"""Boxes and masks that are read equal those that were written, exactly, in every format."""
import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from scene import (
    CLASSES,
    SCENE,
    SIZE,
    coco,
    write_coco,
    write_cvat,
    write_images,
    write_json,
    write_labelme,
    write_voc,
    write_yolo,
)

from convnext_dense.datasets.importers import read_source
from convnext_dense.datasets.importers.checking import check_source
from convnext_dense.errors import InputError


def read(root, **kwargs):
    source = read_source(root, **kwargs)
    check_source(source)
    return source


def things(source):
    """{image name: [(class, box, polygon or None)]} as they were read."""
    return {image.name: [(one.name, one.box, tuple(one.mask[0]) if one.mask else None)
                         for one in image.instances] for image in source.images}


def expected(polygons=True, names=SCENE):
    return {name: [(thing.name, thing.box, thing.polygon if polygons else None)
                   for thing in SCENE[name]] for name in names}


WRITERS = {
    'COCO': (write_coco, True),
    'COCO without masks': (lambda root: write_coco(root, masks=False), False),
    'COCO without sizes': (lambda root: write_coco(root, width=None, height=None), True),
    'YOLO polygons': (write_yolo, True),
    'YOLO boxes': (lambda root: write_yolo(root, polygons=False), False),
    'VOC': (write_voc, False),
    'LabelMe': (write_labelme, True),
    'CVAT': (write_cvat, True),
}


@pytest.mark.parametrize('name', WRITERS)
def test_what_is_read_is_what_was_written(name, tmp_path):
    write, polygons = WRITERS[name]
    write(tmp_path)
    source = read(tmp_path)
    assert things(source) == expected(polygons)
    assert sorted(source.classes) == sorted(CLASSES)
    assert source.task == ('masks' if polygons else 'boxes')
    assert {image.size for image in source.images} == {SIZE}


@pytest.mark.parametrize('text', ['5.0', '0'])
def test_voc_coordinates_with_a_point_or_a_0_count_from_0(text, tmp_path):
    """As CVAT writes them: every box is taken as it stands."""
    write_voc(tmp_path)
    page = tmp_path / 'Annotations/b.xml'
    page.write_text(page.read_text().replace('<xmin>2</xmin>', f'<xmin>{text}</xmin>'))
    first = read(tmp_path).images[0].instances[0]
    assert first.box == (5., 7., 15., 11.)


def test_the_old_xml_of_labelme_is_named(tmp_path):
    write_voc(tmp_path)
    page = tmp_path / 'Annotations/b.xml'
    page.write_text(page.read_text().replace('bndbox', 'polygon'))
    with pytest.raises(InputError, match='old LabelMe'):
        read(tmp_path)


def test_voc_follows_its_image_sets(tmp_path):
    write_voc(tmp_path)
    lists = tmp_path / 'ImageSets/Main'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text('a\nc\n')
    (lists / 'val.txt').write_text('d 1\n')
    (lists / 'apple_train.txt').write_text('a 1\nc -1\nb 1\n')  # VOC's lists of single classes
    source = read(tmp_path)
    assert {image.name: image.split for image in source.images} == {
        'a.jpg': 'train', 'c.jpg': 'train', 'd.jpg': 'val'}


@pytest.mark.parametrize('layout', ['roboflow', 'label studio', 'coco', 'side by side'])
def test_coco_layouts_of_other_tools(layout, tmp_path):
    names = list(SCENE)
    if layout == 'roboflow':
        for folder, part in (('train', names[:2]), ('valid', names[2:3]), ('test', names[3:])):
            write_images(tmp_path / folder, part)
            content = coco(part)
            content['info'] = dict(year='2024')
            content['categories'].insert(0, dict(id=0, name='fruit', supercategory='none'))
            for category in content['categories'][1:]:
                category['supercategory'] = 'fruit'
            write_json(tmp_path / folder / '_annotations.coco.json', content)
        splits = ['train', 'train', 'val', 'test']
    elif layout == 'label studio':
        write_images(tmp_path / 'images', names)
        write_json(tmp_path / 'result.json', coco(prefix='images\\'))
        splits = [None] * 4
    elif layout == 'coco':
        write_images(tmp_path / 'train2017', names[:3])
        write_images(tmp_path / 'val2017', names[3:])
        write_json(tmp_path / 'annotations/instances_train2017.json', coco(names[:3]))
        write_json(tmp_path / 'annotations/instances_val2017.json', coco(names[3:]))
        splits = ['train', 'train', 'train', 'val']
    else:
        write_images(tmp_path, names)
        write_json(tmp_path / 'labels.json', coco(prefix='/data/upload/7/'))
        splits = [None] * 4
    source = read(tmp_path)
    assert source.classes == list(CLASSES)
    assert things(source) == expected()
    assert [image.split for image in sorted(source.images, key=lambda one: one.name)] == splits


def test_coco_splits_may_list_their_classes_in_any_order(tmp_path):
    """Case 2: labels follow the names."""
    write_images(tmp_path / 'train', ['a.jpg', 'b.jpg'])
    write_images(tmp_path / 'val', ['c.jpg', 'd.jpg'])
    write_json(tmp_path / 'train.json', coco(['a.jpg', 'b.jpg']))
    write_json(tmp_path / 'val.json', coco(['c.jpg', 'd.jpg'], classes=CLASSES[::-1]))
    source = read(tmp_path)
    assert source.classes == list(CLASSES)
    assert things(source) == expected()
    assert any('follow the names' in note for note in source.notes)


def test_coco_root_category_of_a_class_name_is_left_out(tmp_path):
    """Case 3: it would shift every label by one."""
    write_images(tmp_path)
    content = coco()
    content['categories'].insert(0, dict(id=0, name='pear', supercategory='none'))
    write_json(tmp_path / 'x.json', content)
    source = read(tmp_path)
    assert source.classes == list(CLASSES) and things(source) == expected()
    assert any("'pear' of x.json" in note for note in source.notes)


def test_coco_ids_may_be_text_and_large(tmp_path):
    write_images(tmp_path)
    content = coco()
    for image in content['images']:
        image['id'] += 2**53
    for one in content['annotations']:
        one['image_id'] = str(one['image_id'] + 2**53)
    write_json(tmp_path / 'x.json', content)
    assert things(read(tmp_path)) == expected()


def test_coco_rle_is_kept(tmp_path):
    write_images(tmp_path)
    content = coco()
    mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    mask[6:18, 4:20] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    rle['counts'] = rle['counts'].decode()
    content['annotations'][0]['segmentation'] = rle
    write_json(tmp_path / 'x.json', content)
    kept = read(tmp_path).images[0].instances[0].mask
    assert (coco_mask.decode(kept) == mask).all()


@pytest.mark.parametrize('yaml', [
    'train: images/train\nval: images/val\nnames: [apple, pear, plum]\nnc: 3\n',
    'path: ../datasets/fruit\ntrain: images/train\nval: images/val\nnames: {0: apple, 1: pear, '
    '2: plum}\n',
    # Roboflow's paths lead one folder too high
    'train: ../images/train\nval: ../images/val\nnames: [apple, pear, plum]\n',
    'train: [images/train]\nval: val.txt\nnames: [apple, pear, plum]\n'])
def test_yolo_yaml_of_any_form(yaml, tmp_path):
    write_yolo(tmp_path, yaml=yaml)
    if 'val.txt' in yaml:
        (tmp_path / 'val.txt').write_text('./images/val/d.jpg\n')
    source = read(tmp_path)
    assert things(source) == expected()
    assert {image.name: image.split for image in source.images} == {
        'a.jpg': 'train', 'b.jpg': 'train', 'c.jpg': 'train', 'd.jpg': 'val'}


def test_yolo_folders_train_and_valid_of_roboflow(tmp_path):
    write_yolo(tmp_path / 'x')
    for split, other in (('train', 'train'), ('val', 'valid')):
        for kind in ('images', 'labels'):
            (tmp_path / other).mkdir(exist_ok=True)
            (tmp_path / 'x' / kind / split).rename(tmp_path / other / kind)
    (tmp_path / 'x/data.yaml').rename(tmp_path / 'data.yaml')
    (tmp_path / 'data.yaml').write_text('train: ../train/images\nval: ../valid/images\n'
                                        'test: ../test/images\nnc: 3\nnames: [apple, pear, plum]\n')
    source = read(tmp_path)
    assert things(source) == expected()
    assert sorted(image.split for image in source.images) == ['train'] * 3 + ['val']
    assert any('test: ../test/images' in note for note in source.notes)


def test_yolo_without_yaml_takes_the_list_of_names(tmp_path):
    """Label Studio's export; Darknet's has obj.names and the labels beside the images."""
    write_yolo(tmp_path)
    (tmp_path / 'data.yaml').unlink()
    (tmp_path / 'classes.txt').write_text('apple\npear\nplum\n')
    assert things(read(tmp_path)) == expected()


def test_yolo_images_without_labels_are_images_without_objects(tmp_path):
    write_yolo(tmp_path)
    (tmp_path / 'labels/train/b.txt').unlink()
    (tmp_path / 'labels/train/c.txt').write_text('')
    source = read(tmp_path)
    assert things(source) == expected() | {'b.jpg': [], 'c.jpg': []}
    assert any(note.startswith('1 images without a label file') for note in source.notes)


def test_labelme_shapes_of_every_kind(tmp_path):
    write_images(tmp_path, ['a.jpg'])
    part = io.BytesIO()
    Image.fromarray(np.array([[True, False], [True, True]])).save(part, 'PNG')
    shapes = [
        dict(label='box', shape_type='rectangle', points=[[20, 18], [4, 6]], group_id=None),
        dict(label='disc', shape_type='circle', points=[[30, 20], [33, 24]], group_id=None),
        dict(label='two', shape_type='polygon', points=[[1, 1], [3, 1], [3, 3]], group_id=5),
        dict(label='two', shape_type='polygon', points=[[7, 7], [9, 7], [9, 9]], group_id=5),
        dict(label='mask', shape_type='mask', points=[[10, 12], [11, 13]], group_id=None,
             mask=base64.b64encode(part.getvalue()).decode()),
        dict(label='way', shape_type='linestrip', points=[[1, 1], [5, 5]], group_id=None),
        dict(label='_background_', shape_type='polygon', points=[[0, 0], [9, 0], [9, 9]],
             group_id=None)]
    write_json(tmp_path / 'a.json', dict(shapes=shapes, imagePath='..\\raw\\a.jpg',
                                         imageWidth=SIZE[0], imageHeight=SIZE[1]))
    source = read(tmp_path)
    found = {one.name: one for one in source.images[0].instances}
    assert found['box'].box == (4, 6, 16, 12) and found['box'].mask is None
    assert found['disc'].box == pytest.approx((25, 15, 10, 10))
    assert len(found['two'].mask) == 2 and found['two'].box == (1, 1, 8, 8)
    rows, columns = coco_mask.decode(found['mask'].mask).nonzero()
    assert list(zip(rows.tolist(), columns.tolist())) == [(12, 10), (13, 10), (13, 11)]
    assert sorted(found) == ['box', 'disc', 'mask', 'two']
    assert any('linestrip' in note for note in source.notes)


def test_labelme_images_that_only_the_label_files_hold(tmp_path):
    write_labelme(tmp_path)
    for name in SCENE:
        image, label = tmp_path / name, (tmp_path / name).with_suffix('.json')
        content = json.loads(label.read_text())
        content['imageData'] = base64.b64encode(image.read_bytes()).decode()
        label.write_text(json.dumps(content))
        image.unlink()
    source = read(tmp_path)
    assert things(source) == expected()
    assert Image.open(io.BytesIO(source.images[0].embedded())).size == SIZE


def test_cvat_shapes_of_every_kind(tmp_path):
    write_images(tmp_path, ['a.jpg'])
    (tmp_path / 'annotations.xml').write_text(f'''<annotations><meta><task><labels>
<label><name>z</name><type>any</type></label><label><name>pose</name><type>points</type></label>
</labels></task></meta><image id="0" name="a.jpg" subset="Train" width="{SIZE[0]}"
 height="{SIZE[1]}">
<box label="box" xtl="4" ytl="6" xbr="20" ybr="18" z_order="0"/>
<box label="turned" xtl="10" ytl="20" xbr="30" ybr="24" rotation="90" z_order="0"/>
<ellipse label="disc" cx="30" cy="20" rx="5" ry="3" z_order="0"/>
<polygon label="two" points="1,1;3,1;3,3" group_id="4"/>
<polygon label="two" points="7,7;9,7;9,9" group_id="4"/>
<mask label="mask" rle="0, 1, 1, 2" left="10" top="12" width="2" height="2" z_order="0"/>
<points label="pose" points="1,1"/></image></annotations>''')
    source = read(tmp_path)
    assert source.classes == ['z', 'box', 'turned', 'disc', 'two', 'mask']
    assert source.images[0].split == 'train'
    found = {one.name: one for one in source.images[0].instances}
    assert found['box'].box == (4, 6, 16, 12)
    assert found['turned'].box == pytest.approx((18, 12, 4, 20))
    assert found['disc'].box == pytest.approx((25, 17, 10, 6))
    assert len(found['two'].mask) == 2
    rows, columns = coco_mask.decode(found['mask'].mask).nonzero()
    assert list(zip(rows.tolist(), columns.tolist())) == [(12, 10), (13, 10), (13, 11)]


def test_an_unknown_folder_says_what_is_known(tmp_path):
    write_images(tmp_path)
    with pytest.raises(InputError, match='4 images, but no annotations that are known: COCO'):
        read(tmp_path)
