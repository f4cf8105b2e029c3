"""The server around the application: its address, who may use it, and its end."""
import errno
import ipaddress
import secrets
import socket
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from convnext_dense.errors import InputError
from convnext_dense.web.guards import check_token

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

PACKAGES = ('fastapi', 'uvicorn', 'python_multipart')
#: what a loopback address is called; a page elsewhere whose name leads here is called otherwise
LOOPBACK_NAMES = ('localhost', '127.0.0.1', '[::1]')
CONNECTIONS = 200
GRACE = 5  # seconds in which running requests may end


def check_packages() -> None:
    """Refuse to go on where the extra is missing.

    Raises:
        InputError: it is not installed.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f'serve needs {", ".join(missing)}, which is not there: pip install '
                         "'convnext_dense[web]'")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a wrong address is found before a model is loaded.

    Args:
        host (str): a name or address of this machine.
        port (int): 0 is a free one.

    Raises:
        InputError: there is no such address, or its port is taken.
    """
    if not 0 <= port < 2**16:
        raise InputError(f'--port {port}: give a number from 0 (a free one) to 65535')
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family)
    except (OSError, UnicodeError) as error:
        if getattr(error, 'errno', None) == errno.EADDRINUSE:
            raise InputError(f'--port {port} is in use; give another, or 0 for a free one'
                             ) from error
        if getattr(error, 'errno', None) == errno.EACCES:
            raise InputError(f'--port {port}: ports below 1024 are for the system; give another'
                             ) from error
        raise InputError(f'--host {host} is no address of this machine ({error})') from error


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine reaches a socket."""
    return ipaddress.ip_address(listening.getsockname()[0].partition('%')[0]).is_loopback


class Entrance:
    """By which address, and for whom, the server is open.

    On a loopback address it is open to everybody on this machine, under the names that such an
    address has; on others, or where one is given, to those who have the token.

    Args:
        host (str): as it was given.
        listening (socket): of that host.
        token (str | None): None makes one where one is needed.

    Raises:
        InputError: the token is no good.
    """

    def __init__(self, host: str, listening: socket.socket, token: str | None = None):
        if token is not None:
            check_token(token)
        elif not is_loopback(listening):
            token = secrets.token_urlsafe(24)
        self.token = token
        self.hosts: Sequence[str] = (*LOOPBACK_NAMES, host) if token is None else ('*', )
        address, port = listening.getsockname()[:2]
        self.cookie = f'convnext-dense-{port}'
        if ipaddress.ip_address(address.partition('%')[0]).is_unspecified:
            address = socket.gethostname()
        self.url = f'http://{f"[{address}]" if ":" in address else address}:{port}/' + (
            f'?token={token}' if token else '')


def build_server(app: 'FastAPI') -> 'uvicorn.Server':
    """The server of an application, with the parts that every installation has."""
    import uvicorn
    return uvicorn.Server(uvicorn.Config(
        app, http='h11', loop='asyncio', ws='none', lifespan='on', log_level='warning',
        access_log=False, server_header=False, limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE))


def run_server(app: 'FastAPI', listening: socket.socket) -> None:
    """Serve until a signal comes: Ctrl-C, or SIGTERM, which ends the process."""
    build_server(app).run(sockets=[listening])
