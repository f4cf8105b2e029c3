"""Who may ask, from where, and how much may be sent."""
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
from web.standing import OneObject, Waiting, standing

from benchmarks.uploads import Upload, ask, form, good_uploads, png, send
from convnext_dense.web.app import Limits
from convnext_dense.web.server import LOOPBACK_NAMES
from convnext_dense.web.serving import ServedModel

ANY = good_uploads()[0]
TOKEN = 'a-token-of-20-letters'


def one(predictor=None, limits=Limits(), **options):
    return standing([ServedModel('one', predictor or OneObject())], limits, **options)


def raw(url, head, body=b'', wait=True):
    """Send bytes as they are; returns what came back."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
        connection.sendall(head.encode() + body)
        answer = b''
        while wait and (part := connection.recv(2**16)):
            answer += part
    return answer.decode(errors='replace')


# -- the token -------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def guarded():
    with one(token=TOKEN, cookie='door') as server:
        yield server


@pytest.mark.parametrize('path', ['/', '/api/models', '/static/page.js', '/api/openapi.json'])
def test_nothing_is_seen_without_the_token(guarded, path):
    for headers in ({}, {'Authorization': f'Bearer {TOKEN[:-1]}'}, {'Cookie': 'door=wrong'},
                    {'Authorization': 'Bearer \xfc\xe4'}, {'Authorization': TOKEN},
                    {'Cookie': f'window={TOKEN}'}):
        answer = ask(guarded.url, path=path, headers=headers)
        assert answer.status == 401 and answer.json['detail'].startswith('a token is needed: ')
    assert ask(guarded.url, ANY).status == 401
    assert ask(guarded.url, path=path, token=TOKEN[:-1]).status == 401


def test_programs_send_it_in_a_header(guarded):
    headers = {'Authorization': f'Bearer {TOKEN}'}
    assert ask(guarded.url, path='/api/models', headers=headers).status == 200
    assert ask(guarded.url, ANY, headers=headers).status == 200


def test_browsers_get_it_as_a_cookie_from_the_printed_address(guarded):
    answer = ask(guarded.url, path='/', token=TOKEN)
    headers = {name.lower(): value for name, value in answer.headers.items()}
    assert answer.status == 303 and headers['location'] == '/'
    cookie, *flags = headers['set-cookie'].split('; ')
    assert {flag.lower() for flag in flags} >= {'httponly', 'samesite=strict', 'path=/'}
    # cookies of other programs on this machine lie beside it
    for more in ('', 'odd={"a": 1}; '):
        assert ask(guarded.url, path='/', headers={'Cookie': more + cookie}).status == 200
        assert ask(guarded.url, ANY, headers={'Cookie': more + cookie}).status == 200


# -- pages elsewhere -------------------------------------------------------------------------------

def test_a_name_that_was_pointed_at_this_machine_is_refused():
    with one(hosts=LOOPBACK_NAMES) as server:
        port = urlsplit(server.url).port
        for host in ('localhost', f'127.0.0.1:{port}', f'[::1]:{port}', f'LOCALHOST:{port}'):
            assert ask(server.url, path='/api/models', headers={'Host': host}).status == 200
        for host in (f'evil.example:{port}', 'localhost.evil.example', ''):
            assert ask(server.url, path='/api/models', headers={'Host': host}).status == 400


def test_a_form_of_another_server_is_refused():
    with one() as server:
        own = urlsplit(server.url).netloc
        assert ask(server.url, ANY, headers={'Origin': f'http://{own}'}).status == 200
        for origin in ('http://evil.example', 'null', f'http://{own}1', 'http://127.0.0.1'):
            answer = ask(server.url, ANY, headers={'Origin': origin})
            assert answer.status == 403 and 'another server' in answer.json['detail']


def test_every_answer_forbids_pages_to_load_anything_from_elsewhere():
    with one() as server:
        for path in ('/', '/static/page.js', '/api/models', '/nothing'):
            headers = {name.lower(): value for name, value in ask(
                server.url, path=path).headers.items()}
            assert "default-src 'none'" in headers['content-security-policy']
            assert headers['x-content-type-options'] == 'nosniff' and 'server' not in headers


# -- how much --------------------------------------------------------------------------------------

@pytest.mark.parametrize('size', [2**17, 2**21])
def test_too_many_bytes_are_refused_where_the_client_sees_it(size):
    with one(limits=Limits(max_bytes=2**16)) as server:
        answer = ask(server.url, Upload('a.png', bytes(size), ()))
        assert answer.status == 413 and 'more than 0.0625 MiB' in answer.json['detail']
        body, kind = form(Upload('a.png', bytes(size), ()))
        head = (f'POST /api/predict HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n'
                'Connection: close\r\n')
        # a client that asks first is told before it sends anything
        asked = raw(server.url, f'{head}Content-Length: {len(body)}\r\n'
                    'Expect: 100-continue\r\n\r\n')
        assert asked.startswith('HTTP/1.1 413')
        assert ask(server.url, ANY).status == 200 and server.uploads() == []


def test_a_length_that_is_not_stated_is_bounded_too():
    with one(limits=Limits(max_bytes=2**16)) as server:
        body, kind = form(Upload('a.png', bytes(2**17), ()))
        chunks = b''.join(b'%x\r\n%s\r\n' % (len(part), part) for part in (
            body[at:at + 5000] for at in range(0, len(body), 5000))) + b'0\r\n\r\n'
        answer = raw(server.url, 'POST /api/predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: '
                     f'chunked\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n', chunks)
        assert answer.startswith('HTTP/1.1 413') and 'more than 0.0625 MiB' in answer


def test_an_upload_that_takes_too_long_is_ended():
    with one(limits=Limits(upload_seconds=.2)) as server:
        answer = raw(server.url, 'POST /api/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n'
                     'Content-Type: multipart/form-data; boundary=b\r\nConnection: close\r\n\r\n')
        assert answer.startswith('HTTP/1.1 408') and 'more than 0.2 seconds' in answer


def test_uploads_that_stall_leave_room_for_others(monkeypatch):
    """As many as may arrive at once; one more is told to come again, and all are let go."""
    monkeypatch.setattr('convnext_dense.web.app.ARRIVING', 3)
    with one(limits=Limits(upload_seconds=2)) as server:
        where = urlsplit(server.url)
        stalled = [socket.create_connection((where.hostname, where.port)) for _ in range(3)]
        for connection in stalled[:2]:
            connection.sendall(b'POST /api/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n'
                               b'Content-Type: multipart/form-data; boundary=b\r\n\r\n--b')
        assert ask(server.url, ANY).status == 200
        stalled[2].sendall(b'POST /api/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n'
                           b'Content-Type: multipart/form-data; boundary=b\r\n\r\n--b')
        until(lambda: ask(server.url, ANY).status == 503)
        assert ask(server.url, ANY).headers['retry-after'] == '1'
        for connection in stalled:
            connection.close()
        until(lambda: ask(server.url, ANY).status == 200)


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(.01)


# -- the queue -------------------------------------------------------------------------------------

class Asked:
    """A request in a thread of its own."""

    def __init__(self, url, upload=ANY):
        self.answer = None
        self._thread = threading.Thread(target=self._ask, args=(url, upload))
        self._thread.start()

    def _ask(self, url, upload):
        self.answer = ask(url, upload)

    def end(self):
        self._thread.join(30)
        return self.answer


def test_a_full_queue_says_when_to_come_again():
    predictor = Waiting()
    with one(predictor, Limits(queue=2)) as server:
        running = Asked(server.url)
        predictor.begun.acquire(timeout=20)
        waiting = [Asked(server.url) for _ in range(2)]
        until(lambda: server.app.state.queues['one'].waiting == 2)
        refused = ask(server.url, ANY)
        assert int(refused.headers['retry-after']) >= 1
        assert refused.json['detail'].startswith('too many requests wait for this model')
        predictor.go.set()
        assert [asked.end().status for asked in (running, *waiting)] == [200] * 3
        assert ask(server.url, ANY).status == 200


def test_two_models_have_queues_of_their_own():
    busy, free = Waiting(), OneObject()
    with standing([ServedModel('busy', busy), ServedModel('free', free)],
                  Limits(queue=0)) as server:
        running = Asked(server.url)
        busy.begun.acquire(timeout=20)
        assert ask(server.url, ANY, model='busy').status == 503
        assert ask(server.url, ANY, model='free').status == 200
        busy.go.set()
        assert running.end().status == 200


def test_clients_that_leave_free_their_places_and_are_not_predicted():
    predictor = Waiting()
    with one(predictor, Limits(queue=2)) as server:
        queue = server.app.state.queues['one']
        running = send(server.url, Upload('running.png', png(8, 11, 11), ()))
        predictor.begun.acquire(timeout=20)
        running.close()
        for _ in range(5):  # more than may wait
            waiting = send(server.url, Upload('waiting.png', png(8, 12, 12), ()))
            until(lambda: queue.waiting == 1)
            send(server.url, Upload('half.png', png(8, 13, 13), ()), share=.5).close()
            waiting.close()
            until(lambda: queue.waiting == 0)
        until(lambda: server.uploads() == [])
        asked = Asked(server.url)
        until(lambda: queue.waiting == 1)
        predictor.go.set()
        assert asked.end().status == 200
        assert 12 not in predictor.seen and 13 not in predictor.seen
        until(lambda: server.uploads() == [])
