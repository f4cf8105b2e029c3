"""Fetching a data set from a local server that misbehaves, and verifying what is on disk."""
import hashlib
import io
import json
import os
import time
import zipfile

import pytest
from broken_server import serving

from convnext_dense.cli import run_command
from convnext_dense.datasets.benchmarks import BENCHMARKS, Archive, Benchmark, Folder
from convnext_dense.datasets.prepare import needed_archives, prepare, problems
from convnext_dense.datasets.unpack import unpack
from convnext_dense.errors import InputError


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def jpegs(folder, count):
    return {f'{folder}/{number}.jpg': os.urandom(2000) for number in range(count)}


@pytest.fixture
def site(monkeypatch):
    """A server with two small data sets laid out like COCO and ADE20K."""
    files = dict(
        annotations=zipped({
            'annotations/instances_train2017.json': listing(3),
            'annotations/instances_val2017.json': listing(2),
            'annotations/captions_val2017.json': '{}'}),
        train=zipped(jpegs('train2017', 3)), val=zipped(jpegs('val2017', 2)),
        ade=zipped({**{f'ADE/{name}': content for split, count in (('training', 3),
                                                                   ('validation', 2))
                       for name, content in (*jpegs(f'images/{split}', count).items(),
                                             *((f'annotations/{split}/{n}.png', b'png')
                                               for n in range(count)))},
                    'ADE/objectInfo150.txt': 'wall', 'elsewhere.txt': 'no'}))
    with serving() as server:
        server.files = {f'/{name}.zip': content for name, content in files.items()}

        def archive(name, members, **kwargs):
            content = files[name]
            return Archive(f'{name}.zip', f'{server.url}/{name}.zip', len(content),
                           hashlib.md5(content).hexdigest(), members, **kwargs)

        server.coco = Benchmark('COCO', 'data/coco', (
            archive('annotations', ('annotations/instances_', )),
            archive('val', ('val2017/', ), splits=('val', )),
            archive('train', ('train2017/', ), splits=('train', ))), (
            Folder('train2017', '.jpg', 3, 'train', 'annotations/instances_train2017.json'),
            Folder('val2017', '.jpg', 2, 'val', 'annotations/instances_val2017.json')))
        server.ade = Benchmark('ADE', 'data/ade', (archive('ade', ('', ), strip='ADE/'), ), (
            Folder('images/training', '.jpg', 3, 'train', partner='annotations/training/*.png'),
            Folder('images/validation', '.jpg', 2, 'val',
                   partner='annotations/validation/*.png')))
        monkeypatch.setitem(BENCHMARKS, 'coco', server.coco)
        monkeypatch.setitem(BENCHMARKS, 'ade20k', server.ade)
        yield server


def listing(count):
    return json.dumps(dict(categories=[], annotations=[], images=[
        dict(id=number, file_name=f'{number}.jpg') for number in range(count)]))


def run(benchmark, root, **kwargs):
    return prepare(benchmark, root, progress=False, say=lambda line: None, **kwargs)


def tree(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob('*') if path.is_file())


COCO_TREE = ['annotations/instances_train2017.json', 'annotations/instances_val2017.json',
             'train2017/0.jpg', 'train2017/1.jpg', 'train2017/2.jpg',
             'val2017/0.jpg', 'val2017/1.jpg']


def test_the_published_counts_and_archives():
    coco, ade = BENCHMARKS['coco'], BENCHMARKS['ade20k']
    assert [folder.number for folder in coco.folders] == [118_287, 5_000]
    assert [folder.number for folder in ade.folders] == [20_210, 2_000]
    assert all(len(archive.md5) == 32 for archive in coco.archives + ade.archives)


def test_coco_arrives_whole_and_the_archives_go(site, tmp_path):
    assert run(site.coco, tmp_path) == []
    assert tree(tmp_path) == COCO_TREE
    assert problems(site.coco, tmp_path, deep=True) == []


def test_ade_loses_the_top_folder_of_its_archive(site, tmp_path):
    assert run(site.ade, tmp_path) == []
    assert 'images/training/0.jpg' in tree(tmp_path)
    assert 'objectInfo150.txt' in tree(tmp_path)
    assert 'elsewhere.txt' not in tree(tmp_path)


def test_a_second_run_fetches_and_writes_nothing(site, tmp_path):
    run(site.coco, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    requests = len(site.requests)
    assert run(site.coco, tmp_path) == []
    assert len(site.requests) == requests
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == before


def test_only_the_archives_of_what_is_missing_are_fetched(site, tmp_path):
    run(site.coco, tmp_path)
    (tmp_path / 'val2017/1.jpg').unlink()
    assert [archive.name for archive in needed_archives(site.coco, tmp_path)] == ['val.zip']
    assert run(site.coco, tmp_path) == []
    assert tree(tmp_path) == COCO_TREE


def test_only_val_needs_no_train_images(site, tmp_path):
    assert run(site.coco, tmp_path, splits=('val', )) == []
    assert len(site.requests) == 2
    assert not (tmp_path / 'train2017').exists()


def test_broken_connections_are_resumed(site, tmp_path, monkeypatch):
    monkeypatch.setattr('convnext_dense.download.time.sleep', lambda seconds: None)
    site.breaks = (100, 200, 300, 100)
    site.statuses = (503, )
    assert run(site.coco, tmp_path) == []
    assert 'bytes=100-' in [request.get('Range') for request in site.requests]


def test_wrong_bytes_are_never_unpacked(site, tmp_path):
    site.files['/val.zip'] = site.files['/val.zip'][:-1] + b'x'
    with pytest.raises(InputError, match='val.zip: its md5 is'):
        run(site.coco, tmp_path)
    assert not (tmp_path / 'val2017').exists()


def test_404_names_the_archive_and_where_to_put_it(site, tmp_path):
    del site.files['/train.zip']
    with pytest.raises(InputError, match=rf'404 .*put it at {tmp_path}/archives/train.zip'):
        run(site.coco, tmp_path)


def test_an_archive_that_was_put_there_by_hand_is_verified_and_used(site, tmp_path):
    (tmp_path / 'zips').mkdir()
    for name, content in site.files.items():
        (tmp_path / f'zips{name}').write_bytes(content)
    assert run(site.coco, tmp_path / 'root', archives=tmp_path / 'zips') == []
    assert not site.requests
    assert (tmp_path / 'zips/train.zip').exists()
    (tmp_path / 'zips/train.zip').write_bytes(site.files['/train.zip'][:-1] + b'x')
    with pytest.raises(InputError, match='train.zip: its md5 is .* delete it'):
        run(site.coco, tmp_path / 'other', archives=tmp_path / 'zips')


def test_a_mirror_is_verified_too(site, tmp_path):
    away = site.coco._replace(archives=tuple(
        archive._replace(url='http://name.invalid/x') for archive in site.coco.archives))
    assert run(away, tmp_path, mirror=site.url + '/') == []


def test_an_interrupted_unpacking_goes_on(site, tmp_path):
    archive = tmp_path / 'val.zip'
    archive.write_bytes(site.files['/val.zip'])
    assert unpack(archive, tmp_path / 'root', progress=False) == 2
    (tmp_path / 'root/val2017/1.jpg').write_bytes(b'half')
    assert unpack(archive, tmp_path / 'root', progress=False) == 1
    assert (tmp_path / 'root/val2017/1.jpg').stat().st_size == 2000
    assert unpack(archive, tmp_path / 'root', progress=False) == 0


# ---- unsafe and damaged archives


@pytest.mark.parametrize('name', ['../evil', 'a/../../evil', '/evil', 'C:/evil', '..\\evil'])
def test_a_member_that_leaves_the_folder_is_refused_before_anything_is_written(tmp_path, name):
    archive = tmp_path / 'bad.zip'
    archive.write_bytes(zipped({'good': '1', name: '2'}))
    with pytest.raises(InputError, match='would land outside'):
        unpack(archive, tmp_path / 'root', progress=False)
    assert not (tmp_path / 'root').exists()


def test_a_link_is_refused(tmp_path):
    archive = tmp_path / 'bad.zip'
    with zipfile.ZipFile(archive, 'w') as content:
        link = zipfile.ZipInfo('link')
        link.external_attr = 0o120777 << 16
        content.writestr(link, '/etc/passwd')
    with pytest.raises(InputError, match='is a link'):
        unpack(archive, tmp_path / 'root', progress=False)


def test_a_member_that_leaves_the_folder_once_its_own_is_stripped_is_refused(tmp_path):
    archive = tmp_path / 'a.zip'
    archive.write_bytes(zipped({'ADE//etc/x': b'1'}))
    with pytest.raises(InputError, match="'ADE//etc/x' would land outside the folder"):
        unpack(archive, tmp_path / 'root', strip='ADE/', progress=False)
    assert not (tmp_path / 'root').exists()


def test_an_archive_that_explodes_is_refused_before_anything_is_written(tmp_path):
    archive = tmp_path / 'a.zip'
    with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as content, \
            content.open('bomb', 'w') as member:
        for _ in range(101):
            member.write(bytes(10**6))
    with pytest.raises(InputError, match='a.zip has 0.1 MB and would unpack to 101.0 MB, more '
                       'than 200 times as much'):
        unpack(archive, tmp_path / 'root', progress=False)
    assert not (tmp_path / 'root').exists()


def test_an_encrypted_archive_is_named(tmp_path):
    archive = tmp_path / 'a.zip'
    content = bytearray(zipped({'a': b'1'}))
    for start, at in ((b'PK\3\4', 6), (b'PK\1\2', 8)):
        content[content.index(start) + at] |= 1
    archive.write_bytes(content)
    with pytest.raises(InputError, match="member 'a' is encrypted"):
        unpack(archive, tmp_path / 'root', progress=False)


def test_a_damaged_member_leaves_no_file(tmp_path):
    content = zipped({'a.jpg': b'x' * 1000})
    archive = tmp_path / 'bad.zip'
    archive.write_bytes(content.replace(b'xxx', b'xyx', 1))
    with pytest.raises(InputError, match='bad.zip is damaged: Bad CRC-32'):
        unpack(archive, tmp_path / 'root', progress=False)
    assert tree(tmp_path / 'root') == []
    archive.write_bytes(b'no zip')
    with pytest.raises(InputError, match='bad.zip is damaged'):
        unpack(archive, tmp_path / 'root', progress=False)


def test_a_full_disk_is_told_before_the_unpacking(tmp_path, monkeypatch):
    archive = tmp_path / 'a.zip'
    archive.write_bytes(zipped({'a.jpg': b'x' * 1000}))
    monkeypatch.setattr('convnext_dense.datasets.unpack.shutil.disk_usage',
                        lambda path: type('usage', (), {'free': 10}))
    with pytest.raises(InputError, match='unpacking a.zip needs 0.0 GB, but'):
        unpack(archive, tmp_path / 'root', progress=False)


# ---- --check


def test_check_names_everything_that_is_wrong(site, tmp_path, capsys):
    assert run_command('prepare_data', ['coco', '--root', str(tmp_path)]) == 0
    assert 'is whole' in capsys.readouterr().out
    assert run_command('prepare_data', ['coco', '--root', str(tmp_path), '--check']) == 0
    (tmp_path / 'val2017/1.jpg').rename(tmp_path / 'val2017/other.jpg')
    (tmp_path / 'val2017/0.jpg').write_bytes(b'')
    (tmp_path / 'train2017/0.jpg').unlink()
    (tmp_path / 'annotations/instances_train2017.json').write_text(listing(2))
    capsys.readouterr()
    requests = len(site.requests)
    assert run_command('prepare_data', ['coco', '--root', str(tmp_path), '--check']) == 1
    output = capsys.readouterr().out
    for part in ('train2017 has 2 files *.jpg, expected 3', '0.jpg is empty',
                 'instances_train2017.json lists 2 images, expected 3',
                 'instances_val2017.json lists are missing, the first is 1.jpg', 'is not whole'):
        assert part in output
    assert len(site.requests) == requests


def test_check_finds_images_without_label_map(site, tmp_path):
    run(site.ade, tmp_path)
    (tmp_path / 'annotations/training/1.png').rename(tmp_path / 'annotations/training/9.png')
    assert problems(site.ade, tmp_path) == []
    [problem] = problems(site.ade, tmp_path, deep=True)
    assert 'do not match: 2 without partner, the first is 1' in problem


def test_a_check_of_an_empty_folder_says_what_to_run(site, tmp_path, capsys):
    assert run_command('prepare_data', ['ade20k', '--root', str(tmp_path), '--check']) == 1
    assert f'run convnext-dense prepare-data ade20k --root {tmp_path}' in capsys.readouterr().out


@pytest.mark.slow
def test_a_second_run_on_as_many_files_as_coco_has_takes_seconds(site, tmp_path):
    """Empty files stand for the 118,287 + 5,000 images: only names are counted."""
    coco = site.coco._replace(folders=tuple(
        folder._replace(number=number) for folder, number in zip(site.coco.folders,
                                                              (118_287, 5_000))))
    for folder in coco.folders:
        (tmp_path / folder.path).mkdir()
        (tmp_path / 'annotations').mkdir(exist_ok=True)
        (tmp_path / folder.annotations).write_text('')
        for number in range(folder.number):
            (tmp_path / folder.path / f'{number:012}.jpg').touch()
    start = time.perf_counter()
    assert run(coco, tmp_path) == []
    assert time.perf_counter() - start < 3
    assert not site.requests
