"""The downloader against a local server that misbehaves in every way that we have met."""
import hashlib
import subprocess
import sys
import threading
import time

import pytest
from broken_server import serving

from convnext_dense.download import download, file_hash, hash_in_name, verify_file
from convnext_dense.errors import InputError

BODY = bytes(range(256)) * 4000  # 1 MB
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server():
    with serving(BODY) as server:
        yield server


def fetch(server, target, **kwargs):
    kwargs = {'size': len(BODY), 'sha256': SHA, 'progress': False, 'retry_delay': .001, **kwargs}
    return download(f'{server.url}/file.zip', target, **kwargs)


def test_a_file_arrives_whole_in_a_new_folder_and_leaves_nothing_beside_it(server, tmp_path):
    target = fetch(server, tmp_path / 'new' / 'file.zip', progress=True)
    assert target.read_bytes() == BODY
    assert [path.name for path in target.parent.iterdir()] == ['file.zip']


def test_an_existing_file_is_not_fetched_again(server, tmp_path):
    target = tmp_path / 'file.zip'
    fetch(server, target)
    fetch(server, target)
    assert len(server.requests) == 1


def test_an_existing_file_of_another_size_is_left_alone_and_named(server, tmp_path):
    target = tmp_path / 'file.zip'
    target.write_bytes(b'mine')
    with pytest.raises(InputError, match=r'file.zip has 4 bytes, expected 1024000; delete'):
        fetch(server, target)
    assert target.read_bytes() == b'mine'


def test_broken_connections_are_resumed_from_where_they_broke(server, tmp_path):
    server.breaks = (1000, 2000, 3000, 0, 4000, 5000, 6000)
    assert fetch(server, tmp_path / 'file.zip').read_bytes() == BODY
    assert [request.get('Range') for request in server.requests] == [
        None, 'bytes=1000-', 'bytes=3000-', 'bytes=6000-', 'bytes=6000-', 'bytes=10000-',
        'bytes=15000-', 'bytes=21000-']


def test_a_reset_connection_is_resumed(server, tmp_path):
    server.breaks, server.resets = (500_000, 300_000), 2
    assert fetch(server, tmp_path / 'file.zip').read_bytes() == BODY


def test_a_connection_that_never_brings_anything_is_given_up(server, tmp_path):
    server.breaks = (1000, 0, 0, 0, 0, 0)
    with pytest.raises(InputError, match=r'gave up on http.*1000 bytes are kept.*put it at'):
        fetch(server, tmp_path / 'file.zip')
    assert not (tmp_path / 'file.zip').exists()


def test_the_next_run_goes_on_from_the_unfinished_file(server, tmp_path):
    (tmp_path / 'file.zip.part').write_bytes(BODY[:5000])
    assert fetch(server, tmp_path / 'file.zip').read_bytes() == BODY
    assert server.requests[0]['Range'] == 'bytes=5000-'


def test_a_complete_unfinished_file_needs_no_connection(server, tmp_path):
    (tmp_path / 'file.zip.part').write_bytes(BODY)
    assert fetch(server, tmp_path / 'file.zip').read_bytes() == BODY
    assert not server.requests


def test_a_killed_process_leaves_no_file_and_its_bytes_are_used(server, tmp_path):
    server.hold = threading.Event()
    process = subprocess.Popen([
        sys.executable, '-c', 'import sys; from convnext_dense.download import download; '
        'download(sys.argv[1], sys.argv[2], progress=False)', server.url, tmp_path / 'file.zip'])
    part = tmp_path / 'file.zip.part'
    wait_until(lambda: part.exists() and part.stat().st_size)
    process.kill()
    process.wait()
    server.hold.set()
    got = part.stat().st_size
    assert 0 < got < len(BODY) and not (tmp_path / 'file.zip').exists()
    server.hold = None
    assert fetch(server, tmp_path / 'file.zip').read_bytes() == BODY
    assert server.requests[-1]['Range'] == f'bytes={got}-'


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(.01)


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    server.breaks = (1000, )
    assert fetch(server, tmp_path / 'file.zip').read_bytes() == BODY


def test_a_file_that_changed_between_two_connections_is_not_mixed(server, tmp_path):
    server.breaks = (1000, 0, 0, 0)
    with pytest.raises(InputError, match='1000 bytes are kept'):
        fetch(server, tmp_path / 'file.zip', sha256=None)
    server.body, server.etag = bytes(reversed(BODY)), '"2"'
    target = fetch(server, tmp_path / 'file.zip', sha256=None)
    assert server.requests[-1]['Range'] == 'bytes=1000-'
    assert target.read_bytes() == bytes(reversed(BODY))


def test_a_damaged_unfinished_file_is_fetched_once_more_from_the_start(server, tmp_path):
    (tmp_path / 'file.zip.part').write_bytes(b'x' * 5000)
    assert fetch(server, tmp_path / 'file.zip').read_bytes() == BODY
    assert len(server.requests) == 2


def test_an_unfinished_file_longer_than_the_real_one_starts_over(server, tmp_path):
    (tmp_path / 'file.zip.part').write_bytes(b'x' * (len(BODY) + 1))
    target = fetch(server, tmp_path / 'file.zip', size=None)
    assert target.read_bytes() == BODY


def test_wrong_bytes_never_get_the_name(server, tmp_path):
    server.body = BODY[:-1] + b'x'
    with pytest.raises(InputError, match=rf'sha256 is .*, expected {SHA}'):
        fetch(server, tmp_path / 'file.zip')
    assert not (tmp_path / 'file.zip').exists()
    server.body = BODY
    assert fetch(server, tmp_path / 'file.zip').read_bytes() == BODY


def test_a_wrong_md5_is_named(server, tmp_path):
    with pytest.raises(InputError, match='md5 is .* expected 00000000'):
        fetch(server, tmp_path / 'file.zip', md5='00000000')


def test_a_hash_prefix_is_enough_but_not_a_tiny_one(server, tmp_path):
    fetch(server, tmp_path / 'file.zip', sha256=SHA[:8].upper())
    with pytest.raises(ValueError, match='too short'):
        fetch(server, tmp_path / 'other.zip', sha256=SHA[:3])


@pytest.mark.parametrize('body', [BODY[:-1], BODY + b'x'])
def test_a_wrong_size_is_named(server, tmp_path, body):
    server.body = body
    with pytest.raises(InputError, match=rf'has {len(body)} bytes, expected {len(BODY)}'):
        fetch(server, tmp_path / 'file.zip')


def test_404_fails_at_once_and_says_where_to_put_the_file(server, tmp_path):
    server.statuses = (404, 404)
    with pytest.raises(InputError, match=rf'404 Not Found for http.*put it at {tmp_path}'):
        fetch(server, tmp_path / 'file.zip')
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.statuses = (503, 429, 500)
    assert fetch(server, tmp_path / 'file.zip').read_bytes() == BODY


def test_a_machine_offline_is_told_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r'offline\? fetch .* put it at'):
        download('http://name.invalid/file.zip', tmp_path / 'file.zip', progress=False)
    with pytest.raises(InputError, match='[Cc]onnection refused'):
        download('http://127.0.0.1:9/f', tmp_path / 'f', progress=False, retry_delay=.001)


def test_a_full_disk_is_told_before_the_download(server, tmp_path, monkeypatch):
    usage = type('usage', (), {'free': 10})
    monkeypatch.setattr('convnext_dense.download.shutil.disk_usage', lambda path: usage)
    with pytest.raises(InputError, match='needs 0.0 GB, but .* free'):
        fetch(server, tmp_path / 'file.zip')


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match='cannot write .*file/x.zip'):
        fetch(server, tmp_path / 'file' / 'x.zip')


def test_processes_that_fetch_the_same_file_get_one_whole_file(server, tmp_path):
    server.breaks = (1000, 1000, 1000)
    threads = [threading.Thread(target=fetch, args=(server, tmp_path / 'file.zip'))
               for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / 'file.zip').read_bytes() == BODY
    assert len(server.requests) == 4  # one download, three breaks


def test_verify_file_reads_the_file(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(BODY)
    verify_file(path, size=len(BODY), sha256=SHA, md5=file_hash(path, 'md5'))
    with pytest.raises(InputError, match='its sha256 is'):
        verify_file(path, sha256='0' * 64)
    with pytest.raises(InputError, match='no such file'):
        verify_file(tmp_path / 'missing')


@pytest.mark.parametrize('name, expected', [
    ('resnet50-0676ba61.pth', '0676ba61'),
    ('convnext-tiny_3rdparty_20221219-7501e534.pth', '7501e534'),
    ('convnext_tiny_1k_224_ema.pth', None),
    ('mask-rcnn_convnext-tiny.pth', None),
])
def test_hash_in_name(name, expected):
    assert hash_in_name(name) == expected


def refused(server, tmp_path, **kwargs):
    """The one line of a fetch without a published size and hash, which leaves no file."""
    with pytest.raises(InputError) as caught:
        fetch(server, tmp_path / 'file.zip', **{'size': None, 'sha256': None, **kwargs})
    assert not (tmp_path / 'file.zip').exists()
    assert '\n' not in str(caught.value) and server.url in str(caught.value)
    return str(caught.value)


def test_a_redirect_loop_is_one_line(server, tmp_path):
    server.loops = True
    assert 'infinite loop' in refused(server, tmp_path)


@pytest.mark.parametrize('ranges', [True, False])
def test_a_body_shorter_than_its_length_is_given_up(server, tmp_path, ranges):
    """Each second attempt, from the end of what there is, is refused and throws it away."""
    server.length, server.ranges = str(2 * len(BODY)), ranges
    with pytest.raises(InputError, match='gave up'):
        download(f'{server.url}/a', tmp_path / 'a', progress=False, retry_delay=.001,
                 check=lambda path: None)
    assert len(server.requests) < 10


@pytest.mark.parametrize('length', ['abc', '-5', '1e3', '9' * 40, '12, 13'])
def test_a_malformed_length_is_one_line(server, tmp_path, length):
    server.length = length
    assert 'malformed length' in refused(server, tmp_path)


@pytest.mark.parametrize('answer, told', [
    ((204, {}, b''), 'the server answered 204'),
    ((200, {'Content-Length': '0'}, b''), 'the answer is empty'),
    ((206, {'Content-Length': '5'}, b'tail!'), 'another range than asked'),
    ((206, {'Content-Range': 'bytes 10-14/15'}, b'tail!'), 'another range than asked'),
    ((206, {'Content-Range': 'bytes 0-4/15'}, b'head!'), 'another range than asked'),
    ((206, {'Content-Range': 'bytes x-y/z'}, b'tail!'), 'another range than asked')])
def test_an_answer_that_is_not_the_file_is_no_file(server, tmp_path, answer, told):
    server.answer = answer
    assert told in refused(server, tmp_path)


def test_a_206_that_holds_the_whole_file_is_taken(server, tmp_path):
    server.answer = (206, {'Content-Range': f'bytes 0-{len(BODY) - 1}/{len(BODY)}'}, BODY)
    assert fetch(server, tmp_path / 'file.zip', size=None).read_bytes() == BODY


@pytest.mark.parametrize('etag', ['"1"', 'W/"1"', None])
def test_a_file_that_changes_between_two_ranges_is_fetched_anew(server, tmp_path, etag):
    """By its size, where the server calls both versions the same; without a version at all,
    and nothing to verify the whole by, the first half is not kept."""
    server.etag, server.breaks, server.changes = etag, (1000, ), BODY[::-1] + b'more'
    target = fetch(server, tmp_path / 'file.zip', size=None, sha256=None)
    assert target.read_bytes() == BODY[::-1] + b'more'


def test_what_is_no_url_is_one_line(tmp_path):
    for url in ('http://[', 'nothing', 'gopher://a/b'):
        with pytest.raises(InputError) as caught:
            download(url, tmp_path / 'f', progress=False, retry_delay=.001)
        assert '\n' not in str(caught.value) and url in str(caught.value)


def test_the_content_of_a_file_is_checked_before_it_has_its_name(server, tmp_path):
    assert 'it is empty inside' in refused(server, tmp_path, check=lambda path: (
        'it is empty inside' if path.read_bytes() == BODY else None))


def test_a_date_in_a_name_is_no_hash():
    assert hash_in_name('upernet-20220227.pth') is None
    assert hash_in_name('upernet-20221399.pth') == '20221399'
    assert hash_in_name('resnet50-0676ba61.pth') == '0676ba61'
