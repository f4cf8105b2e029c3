"""A local HTTP server that breaks connections, answers errors and sends wrong bytes."""
import socket
import struct
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def serving(body=None):
    """A running :class:`Server`."""
    with Server() as server:
        server.body = body
        thread = threading.Thread(target=server.serve_forever, args=(.01, ))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Server(ThreadingHTTPServer):
    """Serves ``files`` (bytes by path), and ``body`` at every other path.

    The other attributes say how it misbehaves.
    """
    daemon_threads = True
    body = None
    breaks = ()  # sizes after which successive answers are cut off
    statuses = ()  # statuses of successive answers, before it works
    resets = 0  # how many answers end with a reset
    hold = None  # an Event: after the first half of an answer, wait for it
    ranges = True
    etag = '"1"'
    length = True  # whether answers have a Content-Length; a text is sent as it is
    answer = None  # headers of a 206 that nobody asked for, or of a 204
    loops = False  # every path redirects to itself
    changes = None  # another body after the first answer, under the same name and version

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.requests = []
        self.files = {}
        self.url = f'http://127.0.0.1:{self.server_port}'

    def handle_error(self, request, client_address):
        pass  # a broken pipe is what the tests ask for


class Handler(BaseHTTPRequestHandler):

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        statuses = list(server.statuses)
        if statuses:
            server.statuses = statuses[1:]
            self.send_error(statuses[0])
            return
        if server.loops:
            self.send_response(302)
            self.send_header('Location', self.path)
            self.end_headers()
            return
        if server.answer:
            status, headers, body = server.answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            return
        whole = server.files.get(self.path, server.body)
        if server.changes is not None:
            server.body, server.changes = server.changes, None
        if whole is None:
            self.send_error(404)
            return
        wanted = self.headers.get('Range')
        current = self.headers.get('If-Range', server.etag) == server.etag
        start = int(wanted[6:-1]) if wanted and server.ranges and current else 0
        if start >= len(whole):
            self.send_error(416)
            return
        body = whole[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(whole) - 1}/{len(whole)}')
        if server.length:
            self.send_header('Content-Length', server.length if isinstance(server.length, str)
                             else str(len(body)))
        if server.etag:
            self.send_header('ETag', server.etag)
        self.end_headers()
        breaks = list(server.breaks)
        if breaks:
            server.breaks = breaks[1:]
            body = body[:breaks[0]]
        if server.hold:
            self.wfile.write(body[:len(body) // 2])
            server.hold.wait(60)
            body = body[len(body) // 2:]
        self.wfile.write(body)
        if server.resets:  # the connection is not closed but torn down
            server.resets -= 1
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       struct.pack('ii', 1, 0))
            self.connection.close()

    def log_message(self, *args):
        pass
