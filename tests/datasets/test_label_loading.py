"""Label maps are loaded with all of their range; mmseg's values where those are right."""
import numpy as np
import pytest
import tifffile
from mmseg.datasets.transforms import LoadAnnotations as Reference
from PIL import Image

from convnext_dense.datasets.loading import LoadAnnotations
from convnext_dense.datasets.splits import default_scope
from convnext_dense.errors import InputError


def load(step, path, **info):
    results = dict(seg_map_path=str(path), reduce_zero_label=False, seg_fields=[])
    results.update(info)
    return step(results)['gt_seg_map']


@pytest.mark.parametrize('info', [
    {}, dict(reduce_zero_label=True), dict(label_map={0: 1, 1: 0, 2: 255, 3: 2}),
    dict(reduce_zero_label=True, label_map={0: 255, 1: 0, 2: 1})])
@pytest.mark.parametrize('mode', ['L', 'P'])
def test_8_bits_are_loaded_as_mmseg_does(tmp_path, info, mode):
    labels = np.random.default_rng(0).choice([0, 1, 2, 3, 200, 254, 255], (20, 30)).astype(np.uint8)
    if info.get('reduce_zero_label'):
        labels[labels == 255] = 0  # mmseg makes 254 of it, which it then takes for ignored
    image = Image.fromarray(labels)
    if mode == 'P':
        image.putpalette(list(range(256)) * 3)
    image.save(tmp_path / 'a.png')
    ours, theirs = (load(step, tmp_path / 'a.png', **info)
                    for step in (LoadAnnotations(), Reference()))
    assert ours.dtype == np.uint8 and np.array_equal(ours, theirs)


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_16_bits_are_loaded_as_written(tmp_path, suffix):
    labels = np.arange(1, 1001, dtype=np.uint16).reshape(20, 50)
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(labels).save(path) if suffix == 'png' else tifffile.imwrite(path, labels)
    assert np.array_equal(load(LoadAnnotations(), path), labels)
    assert np.array_equal(load(LoadAnnotations(ignore_index=65535), path, reduce_zero_label=True),
                          labels - 1)
    assert not np.array_equal(load(Reference(), path), labels)  # modulo 256


def test_one_row_stays_a_map(tmp_path):
    Image.fromarray(np.array([[0, 1, 2]], np.uint8)).save(tmp_path / 'a.png')
    assert load(LoadAnnotations(), tmp_path / 'a.png').shape == (1, 3)


def test_values_get_the_labels_that_are_given(tmp_path):
    Image.fromarray(np.array([[0, 255, 128]], np.uint8)).save(tmp_path / 'a.png')
    step = LoadAnnotations(label_values={0: 0, 255: 1, 128: 255})
    assert load(step, tmp_path / 'a.png').tolist() == [[0, 1, 255]]
    step = LoadAnnotations(label_values={'0': 255, '255': 0})
    assert load(step, tmp_path / 'a.png').tolist() == [[255, 0, 128]]


@pytest.mark.parametrize('values', [3, {0: 'background'}, [0, 1]])
def test_wrong_values_are_refused(values):
    with pytest.raises(InputError, match='label_values is'):
        LoadAnnotations(label_values=values)


def test_configs_find_it_in_the_registry():
    from mmengine.config import ConfigDict
    from mmengine.registry import TRANSFORMS
    with default_scope(ConfigDict(default_scope='mmseg')):
        step = TRANSFORMS.build(dict(type='convnext_dense.LoadAnnotations'))
    assert type(step) is LoadAnnotations
