"""Drawings of a test are in the folder that was given, in the sub-folders of their images."""
import json
import uuid
from pathlib import Path

import cv2
import pytest
from test_fuzzed_settings import config_of
from tiny import detector_config, segmenter_config

from convnext_dense.config import enable_images
from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.errors import InputError
from convnext_dense.runtime import Runner
from convnext_dense.runtime.drawing_hook import below

NAMES = ('cam1/0001.JPG', 'cam2/0001.JPG')


def two_cameras(root):
    """The two validation images under one name in two folders."""
    write_shapes(root, train=2, val=2, size=64)
    path = root / 'annotations/instances_validation.json'
    content = json.loads(path.read_text())
    for image, name in zip(content['images'], NAMES):
        for folder in ('images', 'annotations'):
            old, = (root / folder / 'validation').glob(f'{Path(image["file_name"]).stem}.*')
            new = old.parent / (name if folder == 'images' else name.replace('JPG', 'png'))
            new.parent.mkdir(exist_ok=True)
            old.rename(new)
        image['file_name'] = name
    path.write_text(json.dumps(content))


@pytest.mark.parametrize('make', [detector_config, segmenter_config])
def test_images_of_one_name_stay_apart_where_they_were_asked_for(make, tmp_path):
    two_cameras(tmp_path / 'shapes')
    config = config_of(make, tmp_path / 'shapes', tmp_path / 'work')
    for part in ('dataloader', 'cfg'):
        config[f'train_{part}'] = config[f'val_{part}'] = None
    config.update(optim_wrapper=None, param_scheduler=None, val_evaluator=None, custom_hooks=[],
                  experiment_name=uuid.uuid4().hex)
    if make is segmenter_config:
        config.test_dataloader.dataset.img_suffix = '.JPG'
    enable_images(config, show_dir=str(tmp_path / 'shown'))
    Runner.from_cfg(config).test()
    drawn = sorted(path for path in (tmp_path / 'shown').rglob('*') if path.is_file())
    assert [str(path.relative_to(tmp_path / 'shown')) for path in drawn] == list(NAMES)
    assert all(cv2.imread(str(path)) is not None for path in drawn)
    assert not list((tmp_path / 'work').rglob('*.JPG'))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    write_shapes(tmp_path / 'shapes', train=2, val=2, size=64)
    (tmp_path / 'shown').write_text('a file')
    config = config_of(segmenter_config, tmp_path / 'shapes', tmp_path / 'work')
    for part in ('dataloader', 'cfg'):
        config[f'train_{part}'] = config[f'val_{part}'] = None
    config.update(optim_wrapper=None, param_scheduler=None, val_evaluator=None, custom_hooks=[],
                  experiment_name=uuid.uuid4().hex)
    enable_images(config, show_dir=str(tmp_path / 'shown'))
    with pytest.raises(InputError, match=r'shown/\S+ cannot be written: .*another --show-dir$'):
        Runner.from_cfg(config).test()


@pytest.mark.parametrize('path, name', [
    ('data/val/a/1.jpg', 'a/1.jpg'), ('data/val/1.TIFF', '1.png'), ('elsewhere/b/1.png',
                                                                  'elsewhere/b/1.png')])
def test_the_name_of_a_drawing(path, name):
    assert below(path, 'data/val') == Path(name)
