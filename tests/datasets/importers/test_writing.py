"""What is written is what the toolkit's data sets load: the values, and links to the images."""
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from scene import CLASSES, SCENE, SIZE, label_map, write_coco, write_labelme, write_masks

from convnext_dense.datasets.importers import read_source
from convnext_dense.datasets.importers.checking import check_source
from convnext_dense.datasets.importers.splits import assign_splits
from convnext_dense.datasets.importers.writing import write_data


def write(source_root, root, copy=False):
    source = read_source(source_root)
    check_source(source)
    assign_splits(source)
    return source, write_data(source, root, copy)


@pytest.mark.parametrize('masks', [True, False])
def test_instances_are_written_like_coco(masks, tmp_path, capsys):
    write_coco(tmp_path / 'in', masks=masks)
    source, _ = write(tmp_path / 'in', tmp_path / 'out')
    found = {}
    for split in ('train', 'val'):
        coco = COCO(str(tmp_path / f'out/annotations/{split}.json'))
        assert [category['name'] for category in coco.loadCats(coco.getCatIds())] == list(CLASSES)
        for image in coco.imgs.values():
            path = tmp_path / 'out' / split / image['file_name']
            assert path.is_symlink()
            assert path.resolve() == tmp_path / 'in/images' / image['file_name']
            assert (image['width'], image['height']) == SIZE
            found[image['file_name']] = [
                (CLASSES[one['category_id'] - 1], tuple(one['bbox']),
                 tuple(one['segmentation'][0]) if masks else one.get('segmentation'))
                for one in coco.imgToAnns[image['id']]]
    assert found == {name: [(thing.name, thing.box, thing.polygon if masks else None)
                            for thing in things] for name, things in SCENE.items()}


def test_areas_are_the_pixels_of_the_masks(tmp_path, capsys):
    write_labelme(tmp_path / 'in')
    write(tmp_path / 'in', tmp_path / 'out')
    for split in ('train', 'val'):
        coco = COCO(str(tmp_path / f'out/annotations/{split}.json'))
        for one in coco.anns.values():
            assert one['area'] == coco.annToMask(one).sum()


@pytest.mark.parametrize('colours', [True, False])
def test_label_maps_are_written_like_ade20k(colours, tmp_path):
    write_masks(tmp_path / 'in', colours)
    _, facts = write(tmp_path / 'in', tmp_path / 'out')
    assert facts == dict(img_suffix='.jpg')
    written = sorted((tmp_path / 'out/annotations').glob('*/*.png'))
    assert len(written) == len(SCENE)
    for path in written:
        labels = np.asarray(Image.open(path))
        assert labels.dtype == np.uint8
        assert (labels == label_map(list(SCENE).index(f'{path.stem}.jpg'))).all()
        assert path.is_symlink() is not colours  # numbers as they are need no new file
        image = tmp_path / 'out/images' / path.parent.name / f'{path.stem}.jpg'
        assert image.resolve() == tmp_path / 'in/images' / image.name


def test_copies_stand_without_the_source(tmp_path):
    write_coco(tmp_path / 'in')
    write(tmp_path / 'in', tmp_path / 'out', copy=True)
    images = [path for path in tmp_path.glob('out/*/*.jpg')]
    assert len(images) == len(SCENE) and not any(path.is_symlink() for path in images)


def test_images_of_one_name_in_two_folders_stay_two(tmp_path):
    for folder in ('cam1', 'cam2'):
        write_labelme(tmp_path / 'in' / folder)
    source, _ = write(tmp_path / 'in', tmp_path / 'out')
    names = [image['file_name'] for split in ('train', 'val') for image in
             json.loads((tmp_path / f'out/annotations/{split}.json').read_text())['images']]
    assert sorted(names) == sorted(f'{folder}/{name}' for folder in ('cam1', 'cam2')
                                   for name in SCENE)
