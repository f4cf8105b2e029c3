"""Label maps that are read equal those that were drawn, whatever form they were stored in."""
import numpy as np
import pytest
from PIL import Image
from scene import CLASSES, COLOURS, SCENE, SIZE, label_map, write_images, write_masks

from convnext_dense.datasets.importers import read_source
from convnext_dense.datasets.importers.checking import check_source
from convnext_dense.datasets.importers.index_masks import number_classes
from convnext_dense.datasets.importers.options import Options, parse_colours, read_table
from convnext_dense.errors import InputError


def read(root, options=Options()):
    source = read_source(root, options=options)
    check_source(source)
    return source


def check_labels(source, expected=label_map):
    assert sorted(image.name for image in source.images) == sorted(SCENE)
    for image in source.images:
        assert (source.labels_of(image.label_map) == expected(list(SCENE).index(image.name))).all()


LAYOUTS = {
    'folders': dict(),
    'VOC': dict(images='JPEGImages', masks='SegmentationClass'),
    'CamVid': dict(images='701_StillsRaw_full', masks='LabeledApproved_full', end='_L'),
    'Roboflow': dict(images='train', masks='train/masks', end='_mask'),
    'splits': dict(images='images/train', masks='labels/train'),
}


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('colours', [True, False])
def test_label_maps_are_those_that_were_drawn(layout, colours, tmp_path):
    write_masks(tmp_path, colours, **LAYOUTS[layout])
    source = read(tmp_path)
    assert source.classes == list(CLASSES) and source.task == 'labels'
    check_labels(source)


def test_camvid_as_its_folders_are(tmp_path):
    """train/, train_labels/, val/, val_labels/ and class_dict.csv."""
    for split in ('train', 'val'):
        write_masks(tmp_path, True, images=split, masks=f'{split}_labels', end='_L')
    source = read(tmp_path)
    assert sorted(image.split for image in source.images) == ['train'] * 4 + ['val'] * 4
    for image in source.images:
        assert image.label_map.parent.name == f'{image.split}_labels'
        assert (source.labels_of(image.label_map)
                == label_map(list(SCENE).index(image.name))).all()


def test_ade_folders_keep_split_and_ignore_0(tmp_path):
    for split in ('training', 'validation'):
        write_masks(tmp_path, images=f'images/{split}', masks=f'annotations/{split}', table=False)
    (tmp_path / 'objectInfo150.txt').write_text(
        'Idx\tRatio\tTrain\tVal\tName\n1\t0.1\t5\t1\twall\n2\t0.1\t5\t1\tbuilding, edifice\n')
    source = read(tmp_path)
    assert source.classes == ['wall', 'building']
    assert sorted(image.split for image in source.images) == ['train'] * 4 + ['val'] * 4

    def reduced(number):
        labels = label_map(number)
        return np.where(np.isin(labels, (0, 255)), 255, labels - 1)
    for image in source.images:
        assert (source.labels_of(image.label_map)
                == reduced(list(SCENE).index(image.name))).all()


def test_a_palette_png_is_its_numbers_without_a_table_and_its_colours_with_one(tmp_path):
    write_masks(tmp_path)
    for number, name in enumerate(SCENE):
        image = Image.fromarray(label_map(number)).convert('P')
        palette = np.full((256, 3), 64, np.uint8)
        palette[:3] = COLOURS[::-1]  # the colours say another class than the numbers
        image.putpalette(palette.ravel().tolist())
        image.save(tmp_path / 'masks' / name.replace('.jpg', '.png'))
    check_labels(read(tmp_path))
    (tmp_path / 'labelmap.txt').write_text('# label:color_rgb:parts:actions\n' + ''.join(
        f'{name}:{r},{g},{b}::\n' for name, (r, g, b) in zip(CLASSES, COLOURS))
        + 'ignore:64,64,64::\n')
    source = read(tmp_path)
    assert source.classes == list(CLASSES)
    check_labels(source, lambda number: np.where(label_map(number) == 255, 255,
                                                 2 - label_map(number)))


def test_binary_masks_become_two_classes(tmp_path):
    """Case 26: 0 and 255 would train without a word on one class."""
    write_masks(tmp_path, table=False)
    for number, name in enumerate(SCENE):
        Image.fromarray(np.where(label_map(number) == 1, 255, 0).astype(np.uint8)).save(
            tmp_path / 'masks' / name.replace('.jpg', '.png'))
    source = read(tmp_path)
    assert source.format == 'binary masks' and source.classes == ['background', 'foreground']
    check_labels(source, lambda number: label_map(number) == 1)
    assert read(tmp_path, Options(classes=('crack', ))).classes == ['background', 'crack']


def test_binary_masks_as_jpeg_are_cut_in_the_middle(tmp_path):
    write_masks(tmp_path, table=False)
    for number, name in enumerate(SCENE):
        (tmp_path / 'masks' / name.replace('.jpg', '.png')).unlink()
        Image.fromarray(np.where(label_map(number) == 1, 255, 0).astype(np.uint8)).save(
            tmp_path / 'masks' / name, quality=95)
    check_labels(read(tmp_path), lambda number: label_map(number) == 1)


def test_colours_without_a_table_are_listed_with_the_option_to_give(tmp_path):
    write_masks(tmp_path, True, table=False)
    with pytest.raises(InputError, match='4 colours without a table.* --colours ') as caught:
        read(tmp_path)
    assert all(f"'NAME={r},{g},{b}'" in str(caught.value) for r, g, b in COLOURS)
    assert '\n' not in str(caught.value)
    table = parse_colours([f'{name}={r},{g},{b}' for name, (r, g, b) in zip(CLASSES, COLOURS)]
                          + ['ignore=64,64,64'])
    source = read(tmp_path, Options(colours=table))
    assert source.classes == list(CLASSES)
    check_labels(source)


def test_colours_outside_the_table_are_an_error_unless_they_are_rare(tmp_path):
    write_masks(tmp_path, True)
    path = tmp_path / 'masks/a.png'
    pixels = np.asarray(Image.open(path)).copy()
    pixels[2, 0] = 1, 2, 3
    Image.fromarray(pixels).save(path)
    source = read(tmp_path)
    assert source.labels_of(path)[2, 0] == 255
    assert any('1 colours outside the table' in note for note in source.notes)
    pixels[2:20] = 1, 2, 3
    Image.fromarray(pixels).save(path)
    with pytest.raises(InputError, match=r'do.* name, such as \(1, 2, 3\)'):
        read(tmp_path)


@pytest.mark.parametrize('text', [
    'name,r,g,b\nroad,128,64,128\nsky,70,130,180\n',
    '128 64 128\t\troad\n70 130 180\t\tsky\n',  # CamVid's label_colors.txt
    '# label:color_rgb:parts:actions\nroad:128,64,128::\nsky:70,130,180::\n',  # CVAT's labelmap.txt
    'road 128 64 128\nsky 70 130 180\n'])
def test_tables_of_colours_of_any_form(text, tmp_path):
    path = tmp_path / 'table.txt'
    path.write_text(text)
    assert read_table(path) == {(128, 64, 128): 'road', (70, 130, 180): 'sky'}


def test_a_list_without_colours_is_no_table(tmp_path):
    """As Datumaro writes labelmap.txt beside boxes."""
    write_masks(tmp_path)
    (tmp_path / 'labelmap.txt').write_text('# label:color_rgb:parts:actions\napple:::\n')
    assert read(tmp_path).format == 'index masks'


def test_names_with_numbers_and_spaces_in_a_table(tmp_path):
    path = tmp_path / 'table.csv'
    path.write_text('lane 2,1,2,3\ntraffic light,4,5,6\n')
    assert read_table(path) == {(1, 2, 3): 'lane 2', (4, 5, 6): 'traffic light'}


def test_values_that_are_no_class_numbers():
    with pytest.raises(InputError, match='0, 1, 7, but there are 2 class names'):
        number_classes({0: 1, 1: 1, 7: 1}, ('a', 'b'), 'masks')
    with pytest.raises(InputError, match='300 values'):
        number_classes(dict.fromkeys(range(1000, 1300), 1), None, 'masks')
    with pytest.raises(InputError, match='as PNG'):
        number_classes({0: 5, 100: 5, 101: 4}, None, 'masks', lossy=True)
    numbering = number_classes({3: 1, 900: 1, 65535: 1}, None, 'masks')
    assert numbering.classes == ['class 3', 'class 900']
    assert numbering.numbers == {3: 0, 900: 1, 65535: 255}


def test_images_and_label_maps_without_a_partner_are_named(tmp_path):
    write_masks(tmp_path)
    (tmp_path / 'masks/a.png').unlink()
    (tmp_path / 'images/b.jpg').unlink()
    source = read(tmp_path)
    assert [image.name for image in source.images] == ['c.jpg', 'd.jpg']
    assert any(note.startswith('1 image without a label map') for note in source.notes)
    assert any(note.startswith('1 label map without an image') for note in source.notes)


def test_a_label_map_of_another_size_is_an_error(tmp_path):
    write_masks(tmp_path)
    write_images(tmp_path / 'images', ['a.jpg'], size=(SIZE[0] * 2, SIZE[1]))
    with pytest.raises(InputError, match='a.png are for 128 x 64 pixels, but .* 256 x 64'):
        read(tmp_path)
