"""Files in stores and archives, read as if they lay here."""
import json
import os
import zipfile
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pytest
from mmengine import fileio
from mmengine.registry import init_default_scope

import convnext_dense.registry  # noqa: F401 the backend has its name
from convnext_dense import storage
from convnext_dense.datasets.shapes import write_shapes
from convnext_dense.errors import InputError
from convnext_dense.runtime.annotations import build_dataset
from convnext_dense.runtime.bad_image_list import BadImageList

FSSPEC = dict(backend='fsspec')


@pytest.fixture
def memory():
    """A store without files."""
    store = fsspec.filesystem('memory')
    yield store
    store.rm('/', recursive=True) if store.ls('/') else None


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(root, train=6, val=2, size=64)
    return root


@pytest.fixture(scope='module')
def archive(shapes, tmp_path_factory):
    """The data set as a zip file, images stored as they are."""
    path = tmp_path_factory.mktemp('archive') / 'shapes.zip'
    with zipfile.ZipFile(path, 'w') as file:
        for one in sorted(Path(shapes).rglob('*')):
            file.write(one, one.relative_to(shapes))
    return path


def test_a_store_s_files_are_read_listed_and_known(memory):
    for name in ('a/1.jpg', 'a/2.txt', 'a/b/3.jpg', 'a/.hidden'):
        memory.pipe(f'/{name}', name.encode())
    root = 'memory://a'
    assert fileio.get(f'{root}/1.jpg', backend_args=FSSPEC) == b'a/1.jpg'
    assert fileio.get_text(f'{root}/2.txt', backend_args=FSSPEC) == 'a/2.txt'
    assert fileio.exists(f'{root}/b', backend_args=FSSPEC)
    assert not fileio.exists(f'{root}/c', backend_args=FSSPEC)
    assert fileio.isdir(f'{root}/b', backend_args=FSSPEC)
    assert fileio.isfile(f'{root}/1.jpg', backend_args=FSSPEC)
    assert fileio.join_path(root, 'b', '3.jpg', backend_args=FSSPEC) == f'{root}/b/3.jpg'
    listed = partial(fileio.list_dir_or_file, root, backend_args=FSSPEC)
    assert list(listed()) == ['1.jpg', '2.txt', 'b']
    assert list(listed(list_dir=False, suffix='.jpg', recursive=True)) == ['1.jpg', 'b/3.jpg']
    with fileio.get_local_path(f'{root}/1.jpg', backend_args=FSSPEC) as path:
        assert Path(path).read_bytes() == b'a/1.jpg' and Path(path).name == '1.jpg'
    assert not Path(path).exists()


def test_a_file_in_use_stays_though_the_cache_makes_room(memory, tmp_path):
    backend = storage.FsspecBackend(cache=str(tmp_path), cache_gb=1e-7)
    for number in range(20):
        memory.pipe(f'/{number}', b'x'.ljust(10, b'.'))
    memory.pipe('/annotations.json', b'x.........')
    with backend.get_local_path('memory://annotations.json') as path:
        assert os.path.basename(path) == 'annotations.json'
        for number in range(20):
            backend.get(f'memory://{number}')
        assert Path(path).read_bytes() == b'x.........'
    assert not os.path.exists(path)


def names(folder, **args):
    return list(fileio.list_dir_or_file(folder, list_dir=False, recursive=True, suffix='.png',
                                        backend_args=args or None))


def test_an_archive_is_a_folder(archive, shapes):
    args = dict(FSSPEC, archive=str(archive), root='data/shapes')
    folder = 'annotations/training'
    assert sorted(names(f'{shapes}/{folder}')) == names(f'data/shapes/{folder}', **args) != []
    for name in names(f'data/shapes/{folder}', **args):
        assert fileio.get(f'data/shapes/{folder}/{name}', backend_args=args) == Path(
            shapes, folder, name).read_bytes()


def segmenters(root, args=None):
    """The data set's settings of a segmenter, as the configs have them, at a place."""
    init_default_scope('mmseg')
    import mmseg.datasets  # noqa: F401
    return dict(
        type='mmseg.BaseSegDataset', data_root=root, backend_args=args, img_suffix='.jpg',
        reduce_zero_label=True,
        metainfo=dict(classes=('background', 'disc', 'ring', 'square', 'triangle', 'star')),
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=[dict(type='LoadImageFromFile', backend_args=args),
                  dict(type='convnext_dense.LoadAnnotations', reduce_zero_label=True,
                       backend_args=args)])


def detectors(root, args=None):
    init_default_scope('mmdet')
    import mmdet.datasets  # noqa: F401
    return dict(
        type='convnext_dense.CocoDataset', data_root=root, backend_args=args,
        ann_file='annotations/instances_training.json', data_prefix=dict(img='images/training/'),
        metainfo=dict(classes=('disc', 'ring', 'square', 'triangle', 'star')),
        pipeline=[dict(type='LoadImageFromFile', backend_args=args)])


def samples(settings, folder):
    dataset = build_dataset(settings, BadImageList(folder / 'bad_images.jsonl'))
    return {Path(one['img_path']).name: (one['img'], one.get('gt_seg_map'))
            for one in map(dataset.__getitem__, range(len(dataset)))}


@pytest.mark.parametrize('make', [segmenters, detectors])
@pytest.mark.parametrize('place', ['store', 'cached store', 'archive'])
def test_samples_are_the_same_wherever_they_lie(make, place, archive, memory, shapes, tmp_path):
    if place == 'archive':
        root, args = 'data/', dict(FSSPEC, archive=str(archive), root='data/')
    else:
        memory.put(str(shapes), '/shapes', recursive=True)
        root, args = 'memory://shapes/', dict(FSSPEC)
    if place == 'cached store':
        args.update(cache=str(tmp_path / 'cache'), cache_gb=.1)
    found, expected = samples(make(root, args), tmp_path), samples(make(f'{shapes}/'), tmp_path)
    assert found.keys() == expected.keys() and len(found) == 6
    if place == 'cached store':
        for name in memory.find('/shapes'):
            if name.endswith(('.jpg', '.json')):
                memory.pipe(name, b'')  # what was fetched is not asked for again
        found = samples(make(root, args), tmp_path)
    for name, arrays in expected.items():
        for one, other in zip(arrays, found[name], strict=True):
            assert one is other is None or np.array_equal(one, other)


@pytest.mark.parametrize('wrapper', [
    dict(type='mmdet.MultiImageMixDataset', pipeline=[]), dict(type='RepeatDataset', times=1),
    dict(type='ConcatDataset')])
def test_a_data_set_in_another_one_may_lie_in_a_store(wrapper, memory, shapes, tmp_path):
    memory.put(str(shapes), '/shapes', recursive=True)
    inner = detectors('memory://shapes/', dict(FSSPEC))
    parts = dict(datasets=[inner]) if wrapper['type'] == 'ConcatDataset' else dict(dataset=inner)
    assert len(samples(dict(wrapper, **parts), tmp_path)) == 6


def test_a_store_that_does_not_answer_is_asked_again(memory, monkeypatch):
    monkeypatch.setattr(storage, 'PAUSE', 0)
    memory.pipe('/one', b'1')
    backend, calls = storage.FsspecBackend(), []
    system, _ = backend._locate('memory://one')
    answer = system.cat_file

    def unsteady(path):
        calls.append(path)
        if len(calls) < 3:
            raise ConnectionError('reset by peer')
        return answer(path)
    monkeypatch.setattr(system, 'cat_file', unsteady)
    assert backend.get('memory://one') == b'1' and len(calls) == 3
    monkeypatch.setattr(system, 'cat_file', lambda path: 1 / 0)
    with pytest.raises(OSError, match='memory://one cannot be read: division'):
        backend.get('memory://one')
    with pytest.raises(FileNotFoundError):
        storage.FsspecBackend().get('memory://two')


@pytest.mark.parametrize('args, path, words', [
    (dict(cache_gb=0), 'x', 'cache_gb=0; give a number above 0'),
    (dict(), 'nowhere://a/b', 'files of nowhere:// cannot be read'),
    (dict(archive='{folder}/text', root='data/'), 'data/1.jpg', 'cannot be read as a zip file'),
    (dict(archive='{folder}/none.zip', root='data/'), 'data/1.jpg', 'cannot be read as a zip'),
    (dict(archive='{folder}/text', root='data/'), 'other/1.jpg', "does not begin with .*'data/'")])
def test_settings_that_cannot_work_are_one_line(args, path, words, tmp_path):
    (tmp_path / 'text').write_text('no archive')
    args = {key: value.format(folder=tmp_path) if isinstance(value, str) else value
            for key, value in args.items()}
    with pytest.raises(InputError, match=words) as error:
        storage.FsspecBackend(**args).get(path)
    assert '\n' not in str(error.value)


def test_an_image_that_the_archive_lacks_is_a_missing_file(archive):
    with pytest.raises(FileNotFoundError):
        storage.FsspecBackend(archive=str(archive)).get('images/none.jpg')


def test_the_annotations_of_an_evaluation_may_lie_there_too(archive):
    from convnext_dense.evaluation import CocoMetric
    args = dict(FSSPEC, archive=str(archive), root='data/')
    name = 'annotations/instances_training.json'
    metric = CocoMetric(ann_file=f'data/{name}', metric='bbox', backend_args=args)
    with zipfile.ZipFile(archive) as file:
        assert len(json.loads(file.read(name))['images']) == len(metric._truth.content.image_ids)
