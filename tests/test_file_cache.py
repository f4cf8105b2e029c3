"""Files that were fetched once, of bounded size in all."""
import multiprocessing
import os
from pathlib import Path

import pytest

from convnext_dense.errors import InputError
from convnext_dense.file_cache import FileCache


def fetched(calls, size=10):
    def of(name):
        def fetch():
            calls.append(name)
            return name.encode().ljust(size, b'.')
        return fetch
    return of


def size_of(folder):
    return sum(path.stat().st_size for path in Path(folder).glob('??/*'))


def test_a_file_is_fetched_once(tmp_path):
    calls, cache = [], FileCache(str(tmp_path), 1000)
    of = fetched(calls)
    for _ in range(3):
        assert cache.get('s3://a/1.jpg', of('one')) == b'one.......'
        assert cache.get('s3://a/2.jpg', of('two')) == b'two.......'
    assert calls == ['one', 'two']
    assert FileCache(str(tmp_path), 1000).get('s3://a/1.jpg', of('other')) == b'one.......'


def test_those_that_were_used_longest_ago_make_room(tmp_path):
    calls, cache = [], FileCache(str(tmp_path), 100)
    of = fetched(calls)
    for number in range(10):
        cache.get(str(number), of(str(number)))
        for path in tmp_path.glob('??/*'):
            os.utime(path, (path.stat().st_mtime - 10, ) * 2)
    cache.get('0', of('0'))  # used again
    cache.get('new', of('new'))
    assert size_of(tmp_path) <= 100
    calls.clear()
    for name in ('0', 'new', '9', '1'):
        cache.get(name, of(name))
    assert calls == ['1']


def test_what_is_larger_than_the_cache_passes_through(tmp_path):
    calls, cache = [], FileCache(str(tmp_path), 100)
    for _ in range(2):
        assert len(cache.get('large', fetched(calls, 95)('large'))) == 95
    assert len(calls) == 2 and not size_of(tmp_path)


def fill(folder, seed):
    cache = FileCache(folder, 2000)
    for number in range(300):
        name = str((number * seed) % 97)
        assert cache.get(name, lambda name=name: name.encode() * 20) == name.encode() * 20


def test_processes_share_it_and_keep_its_size(tmp_path):
    running = [multiprocessing.get_context('fork').Process(target=fill, args=(str(tmp_path), seed))
               for seed in (1, 5, 11)]
    for one in running:
        one.start()
    for one in running:
        one.join(60)
        assert one.exitcode == 0
    assert 0 < size_of(tmp_path) <= 2000 * 1.1
    assert not [path for path in tmp_path.glob('.*') if path.name != '.lock']


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='the cache .*file/inside cannot be written'):
        FileCache(str(tmp_path / 'file' / 'inside'), 1000)
