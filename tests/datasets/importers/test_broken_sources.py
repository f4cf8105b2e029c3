"""A broken source is one clear error, or a repair that is named and counted."""
import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from scene import (
    CLASSES,
    SCENE,
    coco,
    write_coco,
    write_images,
    write_json,
    write_labelme,
    write_masks,
    write_voc,
    write_yolo,
)

from convnext_dense.cli import main
from convnext_dense.datasets.importers import read_source
from convnext_dense.datasets.importers.checking import check_source
from convnext_dense.datasets.importers.splits import assign_splits
from convnext_dense.errors import InputError


def read(root, **kwargs):
    source = read_source(root, **kwargs)
    check_source(source)
    assign_splits(source)
    return source


def empty(root):
    root.mkdir(exist_ok=True)


def only_text(root):
    (root / 'readme.txt').write_text('hello')


def labels_without_images(root):
    write_voc(root)
    for path in (root / 'JPEGImages').iterdir():
        path.unlink()


def cut_off(root):
    write_coco(root)
    path = root / 'annotations/instances_default.json'
    path.write_text(path.read_text()[:40])


def of_another_kind(root):
    write_images(root)
    (root / 'notes.json').write_text('{"author": "me"}')


def no_object(root):
    write_coco(root)
    path = root / 'annotations/instances_default.json'
    content = json.loads(path.read_text())
    content['annotations'] = []
    path.write_text(json.dumps(content))


def no_label_file(root):
    write_yolo(root)
    for path in root.glob('labels/*/*.txt'):
        path.unlink()


def class_beyond_the_names(root):
    write_yolo(root)
    (root / 'labels/train/b.txt').write_text('0 .5 .5 .1 .1\n7 .5 .5 .1 .1\n')


def pixels_in_yolo(root):
    write_yolo(root)
    (root / 'labels/train/b.txt').write_text('0 64 32 10 10\n')


def five_numbers_in_yolo(root):
    write_yolo(root)
    (root / 'labels/train/b.txt').write_text('0 .5 .5 .1 .1 .9\n')


def words_in_yolo(root):
    write_yolo(root)
    (root / 'labels/train/b.txt').write_text('apple .5 .5 .1 .1\n')


def other_classes_in_val(root):
    write_images(root / 'train', ['a.jpg', 'b.jpg'])
    write_images(root / 'val', ['c.jpg', 'd.jpg'])
    write_json(root / 'train.json', coco(['a.jpg', 'b.jpg']))
    content = coco(['c.jpg', 'd.jpg'])
    content['categories'][0]['name'] = 'Apfel'
    write_json(root / 'val.json', content)


def one_id_for_two_images(root):
    """Case 6."""
    write_images(root)
    content = coco()
    content['images'][1]['id'] = 1
    write_json(root / 'x.json', content)


def two_images_of_one_name(root):
    write_images(root / 'x')
    write_images(root / 'y')
    write_json(root / 'x.json', coco())


def one_category_twice(root):
    write_images(root)
    content = coco()
    content['categories'][1]['name'] = 'apple'
    write_json(root / 'x.json', content)


def two_spellings(root):
    write_labelme(root)
    path = root / 'c.json'
    path.write_text(path.read_text().replace('"apple"', '"Apple"'))


def two_formats(root):
    write_voc(root)
    write_coco(root)


def box_that_is_none(root):
    write_coco(root)
    path = root / 'annotations/instances_default.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['bbox'] = [1, 2, 3]
    path.write_text(json.dumps(content))


def nan_box(root):
    write_coco(root)
    path = root / 'annotations/instances_default.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['bbox'] = [1, 2, 3, float('nan')]
    path.write_text(json.dumps(content))


def far_polygon(root):
    """Drawing it would take all memory."""
    write_coco(root)
    path = root / 'annotations/instances_default.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['segmentation'] = [[0, 0, 1e9, 0, 1e9, 1e9]]
    path.write_text(json.dumps(content))


def unknown_category(root):
    write_coco(root)
    path = root / 'annotations/instances_default.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['category_id'] = 99
    path.write_text(json.dumps(content))


def no_json(root):
    write_coco(root)
    path = root / 'annotations/instances_default.json'
    path.write_text(path.read_text()[:-20])


def no_xml(root):
    write_voc(root)
    path = root / 'Annotations/a.xml'
    path.write_text(path.read_text()[:-20])


def images_of_another_size(root):
    write_coco(root)
    write_images(root / 'images', ['a.jpg'], size=(20, 10))


def turned_by_exif(root):
    """The annotations are of the image as stored, which loading turns."""
    write_coco(root)
    image = Image.open(root / 'images/a.jpg')
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(root / 'images/a.jpg', exif=exif)


def one_image(root):
    write_images(root, ['a.jpg'])
    write_json(root / 'x.json', coco(['a.jpg']))


def two_maps_for_an_image(root):
    write_masks(root)
    write_masks(root, masks='labels')


def every_pixel_ignored(root):
    write_masks(root, table=False)
    for path in (root / 'masks').iterdir():
        Image.fromarray(np.full_like(np.asarray(Image.open(path)), 254) + 1).save(path)


def colours_of_a_video(root):
    (root / 'annotations.xml').write_text('<annotations><track id="0"/></annotations>')
    write_images(root)


@pytest.mark.parametrize('breaking, message', [
    (empty, 'the folder is empty; give the folder'),
    (only_text, 'holds no images'),
    (labels_without_images, 'no image of the source has annotations .*; 4 label files without an '
                            'image: left out'),
    (cut_off, 'no annotations that are known: .*; annotations/instances_default.json is damaged'),
    (of_another_kind, 'no annotations that are known: .*; notes.json is none of them'),
    (no_object, 'no object is annotated in the 4 images'),
    (no_label_file, 'none of the 4 images has a label file'),
    (class_beyond_the_names, 'line 2 of .*b.txt has class 7, but .*data.yaml names 3 classes'),
    (pixels_in_yolo, 'line 1 of .*b.txt has the coordinate 64; YOLO labels hold shares'),
    (five_numbers_in_yolo, 'line 1 of .*b.txt has 5 values after the class'),
    (words_in_yolo, 'line 1 of .*b.txt is .*, not numbers'),
    (other_classes_in_val, r"val.json has annotations of \['Apfel'\], .* of .*train.json"),
    (one_id_for_two_images, 'a.jpg and b.jpg have one id, 1'),
    (two_images_of_one_name, 'two images of one name'),
    (one_category_twice, "two categories have the name 'apple'"),
    (two_spellings, r"classes 'Apple' \(2\) and 'apple' \(1\) differ in spelling only"),
    (two_formats, 'several formats: coco .*, voc .*; choose one with --format'),
    (box_that_is_none, r'annotation 1 of .*: bbox is \[1, 2, 3\]'),
    (nan_box, 'annotation 1 of .*: bbox is .* not four finite numbers'),
    (far_polygon, r'annotation 1 of .*: a polygon that reaches to 1e\+09'),
    (unknown_category, 'annotation 1 of .* has category_id 99'),
    (no_json, 'instances_default.json is no JSON'),
    (no_xml, 'a.xml is no XML'),
    (images_of_another_size, 'a.jpg are for 128 x 64 pixels, but the image has 20 x 10'),
    (turned_by_exif, 'a.jpg fit it as stored, 128 x 64, but its EXIF orientation'),
    (one_image, 'too few to train on some and validate on others'),
    (two_maps_for_an_image, 'a.jpg has two label maps'),
    (every_pixel_ignored, 'every pixel of every mask is 255, which is ignored'),
    (colours_of_a_video, 'CVAT for video'),
])
def test_a_broken_source_is_one_error(breaking, message, tmp_path):
    breaking(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path)
    assert '\n' not in str(caught.value)


def test_boxes_outside_their_image_are_cut_or_left_out_and_counted(tmp_path):
    write_coco(tmp_path, masks=False)
    path = tmp_path / 'annotations/instances_default.json'
    content = json.loads(path.read_text())
    for one, box in zip(content['annotations'], (
            [-4, 6, 16, 12], [300, 10, 20, 20], [5, 5, .5, 8], [0, 0, 0, 0])):
        one['bbox'] = box
    path.write_text(json.dumps(content))
    source = read(tmp_path)
    assert source.images[0].instances[0].box == (0, 6, 12, 12)
    assert sum(len(image.instances) for image in source.images) == 4
    notes = [note.partition(' (the')[0] for note in source.notes]
    assert notes == ['1 boxes that leave their image: cut at its border',
                     '2 objects wholly outside their image, or of no size: left out',
                     '1 boxes less than a pixel wide or high: left out']


def test_an_unreadable_image_is_left_out_and_named(tmp_path):
    write_coco(tmp_path)
    (tmp_path / 'images/b.jpg').write_bytes(b'no image')
    source = read(tmp_path)
    assert [image.name for image in source.images] == ['a.jpg', 'c.jpg', 'd.jpg']
    assert any('1 images that cannot be read' in note and 'b.jpg' in note for note in source.notes)


def test_some_objects_without_a_mask_make_all_boxes(tmp_path):
    """Case 12: an instance without a mask stops a mask head."""
    write_coco(tmp_path)
    path = tmp_path / 'annotations/instances_default.json'
    content = json.loads(path.read_text())
    content['annotations'][1]['segmentation'] = []
    path.write_text(json.dumps(content))
    source = read(tmp_path)
    assert source.task == 'boxes'
    assert any(note.startswith('1 objects without a mask among others') for note in source.notes)


def test_missing_images_annotations_and_areas_are_counted(tmp_path):
    """Case 10."""
    write_coco(tmp_path)
    (tmp_path / 'images/d.jpg').unlink()
    path = tmp_path / 'annotations/instances_default.json'
    content = json.loads(path.read_text())
    content['images'][0].pop('width')
    content['annotations'][0]['area'] = None
    content['annotations'].append(dict(content['annotations'][0], id=77, image_id=99))
    path.write_text(json.dumps(content))
    source = read(tmp_path)
    assert len(source.images) == 3 and source.classes == list(CLASSES)
    assert any(note.startswith('1 images that an annotation file lists') for note in source.notes)
    assert any(note.startswith('1 annotations of images that are not') for note in source.notes)


#: nine levels of ten references: a billion names
LAUGHS = 'a0: &a0 [lol]\n' + ''.join(
    f'a{level}: &a{level} [{", ".join([f"*a{level - 1}"] * 10)}]\n' for level in range(1, 10))


def test_names_made_of_references_are_not_read(tmp_path):
    write_images(tmp_path)
    (tmp_path / 'data.yaml').write_text(LAUGHS + 'names: *a9\n')
    with pytest.raises(InputError, match='no annotations that are known'):
        read(tmp_path)


def test_links_that_lead_round_are_walked_once(tmp_path):
    write_coco(tmp_path)
    for folder, other in (('one', 'two'), ('two', 'one')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'round').symlink_to('..')
        (tmp_path / folder / 'beside').symlink_to(tmp_path / other)
    assert {image.path.name for image in read(tmp_path).images} == set(SCENE)


def test_a_number_without_end_is_one_line(tmp_path):
    write_coco(tmp_path)
    path = tmp_path / 'annotations/instances_default.json'
    content = json.loads(path.read_text())
    content['images'][0]['width'] = float('inf')
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match='annotations in .* cannot be read: OverflowError'):
        read(tmp_path)


def labelme_files(root):
    """The LabelMe files of the scene, by name."""
    write_labelme(root)
    return {path: json.loads(path.read_text()) for path in sorted(root.rglob('*.json'))}


def test_a_mask_of_an_absurd_size_is_one_line(tmp_path):
    path, content = next(iter(labelme_files(tmp_path).items()))
    mask = io.BytesIO()
    Image.new('L', (8, 8), 255).save(mask, 'png')
    content['shapes'][0].update(shape_type='mask', points=[[0, 0], [8, 8]],
                                mask=base64.b64encode(mask.getvalue()).decode())
    path.write_text(json.dumps(dict(content, imageWidth=10**6, imageHeight=10**6)))
    with pytest.raises(InputError, match='imageWidth and imageHeight are 1000000 and 1000000'):
        read(tmp_path)


@pytest.mark.parametrize('data', ['!', 'aGVsbG8=', 'a'])
def test_an_embedded_image_that_is_none_is_left_out(data, tmp_path):
    path, content = next(iter(labelme_files(tmp_path).items()))
    (path.parent / content['imagePath']).unlink()
    path.write_text(json.dumps(dict(content, imageData=data)))
    source = read(tmp_path)
    assert len(source.images) == len(SCENE) - 1
    assert any(note.startswith('1 images that cannot be read: left out') for note in source.notes)


def test_new_prints_no_control_characters(tmp_path, capsys):
    for path, content in labelme_files(tmp_path / 'source').items():
        for shape in content['shapes']:
            shape['label'] += '\x1b[2J'
        path.write_text(json.dumps(content))
    assert main(['new', str(tmp_path / 'made'), '--data', str(tmp_path / 'source'),
                 '--weights', 'none']) == 0
    printed = capsys.readouterr().out
    assert '\x1b' not in printed and r'apple\x1b[2J' in printed


@pytest.mark.parametrize('place', ['/proc', '{}/elsewhere'])
def test_a_folder_outside_of_the_source_is_not_walked_through(place, tmp_path):
    write_yolo(tmp_path / 'source')
    write_images(tmp_path / 'elsewhere')
    path = tmp_path / 'source/data.yaml'
    place = place.format(tmp_path)
    path.write_text(path.read_text().replace('val: images/val', f'val: {place}').replace(
        'train: images/train', f'train: {place}'))
    with pytest.raises(InputError, match=f'train: {place} is not there'):
        read(tmp_path / 'source')
