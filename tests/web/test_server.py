"""Addresses, and who may come in by them."""
import socket

import pytest

from convnext_dense.errors import InputError
from convnext_dense.web.server import Entrance, check_packages, listen


def test_this_machine_needs_no_token_and_is_called_by_its_own_names():
    with listen('127.0.0.1', 0) as listening:
        entrance = Entrance('127.0.0.1', listening)
        port = listening.getsockname()[1]
    assert entrance.token is None and entrance.url == f'http://127.0.0.1:{port}/'
    assert {'localhost', '127.0.0.1', '[::1]'} <= set(entrance.hosts) and '*' not in entrance.hosts


def test_other_hosts_need_a_token_that_differs_each_time():
    with listen('0.0.0.0', 0) as listening:
        first, second = (Entrance('0.0.0.0', listening) for _ in range(2))
        port = listening.getsockname()[1]
    assert first.token != second.token and len(first.token) >= 32
    assert first.url == f'http://{socket.gethostname()}:{port}/?token={first.token}'
    assert first.cookie.endswith(str(port))


def test_a_token_that_is_given_holds_on_this_machine_too():
    with listen('localhost', 0) as listening:
        assert Entrance('localhost', listening, 'x' * 20).token == 'x' * 20
        for bad in ('short', 'has spaces in it so', 'x' * 300, 'ü' * 20):
            with pytest.raises(InputError, match='--token: give 16 to 200'):
                Entrance('localhost', listening, bad)


@pytest.mark.skipif(not socket.has_ipv6, reason='no IPv6 here')
def test_addresses_of_the_sixth_version_stand_in_brackets():
    try:
        listening = listen('::1', 0)
    except InputError:
        pytest.skip('no IPv6 here')
    with listening:
        assert Entrance('::1', listening).url.startswith('http://[::1]:')


def test_wrong_addresses_are_one_line():
    with listen('127.0.0.1', 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f'--port {port} is in use; give another'):
            listen('127.0.0.1', port)
    for host in ('192.0.2.1', 'no such host', 'x' * 80):
        with pytest.raises(InputError, match=f'--host {host} is no address of this machine'):
            listen(host, 0)
    for port in (-1, 65536):
        with pytest.raises(InputError, match='--port'):
            listen('127.0.0.1', port)


def test_without_the_extra_the_line_says_what_to_install(monkeypatch):
    check_packages()
    monkeypatch.setattr('convnext_dense.web.server.PACKAGES', ('fastapi', 'no_such_package'))
    with pytest.raises(InputError, match=r"no_such_package.*pip install 'convnext_dense\[web\]'"):
        check_packages()
