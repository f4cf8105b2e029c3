"""What is judged is what the pipeline's own loader gives, whatever the loader."""
import pickle

import numpy as np
import pytest
import tifffile
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose
from mmengine.registry import TRANSFORMS, DefaultScope
from PIL import Image
from tiny_data import noise_image

from convnext_dense.checks.audit_config import audit
from convnext_dense.checks.loading import Loader
from convnext_dense.checks.preflight import check_config
from convnext_dense.datasets.label_maps import read_labels
from convnext_dense.errors import InputError


@TRANSFORMS.register_module()
class LoadBands(BaseTransform):
    """A loader of a user's own: .npy files and TIFF files of any number of bands."""

    def transform(self, results):
        path = results['img_path']
        image = np.load(path) if path.endswith('.npy') else tifffile.imread(path)
        return dict(results, img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])


def write(path, kind):
    """An image of 30 x 40 pixels in a file; returns its path."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    image, exif = Image.fromarray(noise), Image.Exif()
    exif[274] = 6
    if kind == 'turned':
        image.save(path, exif=exif)
    elif kind == 'cmyk':
        image.convert('CMYK').save(path)
    elif kind == 'float32':
        tifffile.imwrite(path, noise[..., 0].astype(np.float32))
    elif kind == 'bands':
        tifffile.imwrite(path, np.concatenate([noise, noise], 2), photometric='minisblack')
    elif kind == 'npy':
        np.save(path, np.concatenate([noise, noise], 2)[..., :4])
    elif kind == 'sixteen':
        Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(path)
    else:
        image.save(path)
    return str(path)


@pytest.mark.parametrize('backend', ['cv2', 'pillow', 'tifffile'])
@pytest.mark.parametrize('name, kind', [
    ('a.jpg', 'plain'), ('a.jpg', 'turned'), ('a.webp', 'turned'), ('a.png', 'turned'),
    ('a.tif', 'plain'), ('a.tif', 'float32'), ('a.tif', 'bands'), ('a.jpg', 'cmyk'),
    ('a.png', 'sixteen'), ('a.bmp', 'plain'), ('a.gif', 'plain')])
def test_an_image_is_what_mmcv_gives_or_is_refused_where_mmcv_refuses(
        tmp_path, name, kind, backend):
    path = write(tmp_path / name, kind)
    step = dict(type='LoadImageFromFile', imdecode_backend=backend)
    with DefaultScope.overwrite_default_scope('mmseg'):
        theirs = Compose([step])
    image, problem = Loader([step], 'mmseg').image(dict(img_path=path))
    try:
        expected = theirs(dict(img_path=path))['img']
    except Exception:
        assert image is None and problem.kind == 'image-unreadable'
    else:
        assert problem is None and np.array_equal(image, expected)


def test_a_turned_webp_is_judged_as_it_is_loaded(coco):
    """OpenCV turns a JPEG and no WebP: its annotation must have the size of the loaded image."""
    exif = Image.Exif()
    exif[274] = 6
    noise_image(0).save(coco.root / 'train/1.jpg', 'WEBP', exif=exif)
    assert audit(coco.cfg, progress=False)[0][0].findings.counts['image-size'] == 0
    content = coco.contents['train']
    content['images'][0].update(width=24, height=32)
    coco.write('train', content)
    report = audit(coco.cfg, progress=False)[0][0]
    assert report.findings.examples['image-size'] == [
        f'{coco.root}/train/1.jpg has 32x24 pixels, its annotation says 24x32']


@pytest.mark.parametrize('kind, suffix', [('npy', '.npy'), ('bands', '.tif'), ('float32', '.tif')])
def test_a_loader_of_ones_own_decides_what_can_be_read(labels, kind, suffix):
    for split in ('training', 'validation'):
        for path in (labels.root / 'images' / split).iterdir():
            write(path.with_suffix(suffix), kind)
            stem = path.stem
            Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(40, 30) % 2).save(
                labels.root / 'annotations' / split / f'{stem}.png')
    for name in ('train', 'val', 'test'):
        dataset = labels.cfg[f'{name}_dataloader'].dataset
        dataset.img_suffix = suffix
        dataset.pipeline[0] = dict(type='LoadBands')
    check_config(labels.cfg, training=True)
    reports, config, _ = audit(labels.cfg, progress=False)
    assert set(reports[0].findings.counts) <= {'duplicate-content'} and not config.counts
    labels.cfg.train_dataloader.dataset.pipeline[0] = dict(type='LoadImageFromFile')
    if kind != 'bands':  # of six bands OpenCV shows three
        with pytest.raises(InputError, match='train_dataloader: none of the 3 images .* is no '
                           'image that the loader can decode'):
            check_config(labels.cfg, training=True)
        assert audit(labels.cfg, progress=False)[0][0].findings.counts['image-unreadable'] == 3


def test_a_limit_of_pixels_of_the_config_is_the_same_in_all_checks(coco):
    coco.cfg.bad_images = dict(max_pixels=700)
    with pytest.raises(InputError, match='1.jpg has 32x24 pixels, more than '
                       'bad_images.max_pixels=700 allows'):
        check_config(coco.cfg, training=True)
    assert audit(coco.cfg, progress=False)[0][0].findings.counts['image-unreadable'] == 3


def test_a_loader_survives_the_way_to_another_process(tmp_path):
    path = write(tmp_path / 'a.png', 'plain')
    loader = pickle.loads(pickle.dumps(Loader([dict(type='LoadBands')])))
    assert loader.image(dict(img_path=path)).problem.kind == 'image-unreadable'
    loader = pickle.loads(pickle.dumps(Loader([])))
    assert loader.image(dict(img_path=path)).image.shape == (40, 30, 3)


@pytest.mark.parametrize('kind', [np.uint8, np.uint16, bool])
def test_label_maps_keep_their_range(tmp_path, kind):
    labels = np.arange(0, 60000, 60).reshape(20, 50).astype(kind)
    Image.fromarray(labels).save(tmp_path / 'a.png')
    assert np.array_equal(read_labels(str(tmp_path / 'a.png')), labels)


def test_a_palette_is_not_expanded(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), 'P')
    image.putpalette([9, 9, 9, 200, 100, 50, 0, 0, 255])
    image.save(tmp_path / 'a.png')
    assert read_labels(str(tmp_path / 'a.png')).tolist() == [[0, 1, 2]]


def test_labels_that_are_no_whole_numbers_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / 'a.tif', np.array([[0, .5]], np.float32))
    with pytest.raises(ValueError, match='values like 0.5; expected whole numbers'):
        read_labels(str(tmp_path / 'a.tif'))
    tifffile.imwrite(tmp_path / 'a.tif', np.array([[0, 3]], np.float32))
    assert read_labels(str(tmp_path / 'a.tif')).tolist() == [[0, 3]]
