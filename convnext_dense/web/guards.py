"""Who may ask, from where, and how much may be sent: ASGI middleware around the application.

Plain ASGI, since Starlette's class for middleware hides from the application that a client left.
"""
import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse

from convnext_dense.errors import InputError

Application = Callable[[Any, Any, Any], Awaitable[None]]
#: everything from this server alone; what scripts draw is a blob or data
CONTENT_POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                  "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
                  "frame-ancestors 'none'")
HEADERS = {'Content-Security-Policy': CONTENT_POLICY, 'X-Content-Type-Options': 'nosniff',
           'Referrer-Policy': 'no-referrer', 'Cache-Control': 'no-store'}
#: letters that stand in an address, a header and a cookie as they are
TOKEN = re.compile(r'[A-Za-z0-9._~-]{16,200}')
FORM_BYTES = 16 * 2**10  # of a form around its file
#: of an upload that is too large this many times the limit is read, so that the client gets to
#: see the answer: most send the whole before they look for one
READ_ON = 4


def check_token(token: str) -> None:
    """Refuse a token that is guessed easily or cannot be sent.

    Raises:
        InputError: one that is short or has other letters.
    """
    if not TOKEN.fullmatch(token):
        raise InputError('--token: give 16 to 200 of the letters A-Z a-z 0-9 . _ ~ -, or leave it '
                         'out: one is made then')


class AnswerHeaders:
    """Headers of every answer that tell browsers what a page of this server may do."""

    def __init__(self, app: Application):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_headers(message):
            if message['type'] == 'http.response.start':
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)
        await self.app(scope, receive, send_with_headers)


class Admission:
    """Lets in who has the token, and refuses forms that pages of other servers send.

    The token is taken from ``Authorization: Bearer TOKEN``, from the cookie, or from the address of
    the page, ``/?token=TOKEN``, which sets the cookie and leads to ``/``.

    Args:
        app: what is guarded.
        token (str | None): None lets in everybody.
        cookie (str): its name; browsers share cookies between the ports of a machine.
    """

    def __init__(self, app: Application, token: str | None, cookie: str):
        self.app, self.token, self.cookie = app, token, cookie

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        answer = self._refusal(scope) if scope['type'] == 'http' else None
        await (answer or self.app)(scope, receive, send)

    def _refusal(self, scope):
        headers = Headers(scope=scope)
        origin = headers.get('origin')
        if scope['method'] != 'GET' and origin is not None and \
                urlsplit(origin).netloc.lower() != headers.get('host', '').lower():
            return JSONResponse(dict(detail='this comes from a page of another server'), 403)
        if self.token is None:
            return None
        if scope['method'] == 'GET' and scope['path'] == '/':
            asked = parse_qs(scope['query_string'].decode('latin-1')).get('token', [''])[0]
            if self._is_right(asked):  # it does not stay in the address, which others may see
                answer = RedirectResponse('/', 303)
                answer.set_cookie(self.cookie, self.token, httponly=True, samesite='strict')
                return answer
        if self._is_right(self._sent(scope)):
            return None
        return JSONResponse(
            dict(detail='a token is needed: open the address that the server printed, or send '
                 'Authorization: Bearer TOKEN'), 401, headers={'WWW-Authenticate': 'Bearer'})

    def _sent(self, scope):
        request = HTTPConnection(scope)
        scheme, _, token = request.headers.get('authorization', '').partition(' ')
        return token.strip() if scheme.lower() == 'bearer' else request.cookies.get(
            self.cookie, '')

    def _is_right(self, sent):
        assert self.token is not None
        return hmac.compare_digest(sent.encode(), self.token.encode())


class UploadLimits:
    """Bounds the bytes of an upload, the time that it takes, and how many come in at once.

    Args:
        app: what is guarded.
        max_bytes (int): of an upload, without the form around it.
        seconds (float): that it may take to arrive.
        at_once (int): uploads that may arrive at the same time.
    """

    def __init__(self, app: Application, max_bytes: int, seconds: float, at_once: int):
        self.app, self.max_bytes, self.seconds, self.at_once = app, max_bytes, seconds, at_once
        self.arriving = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope['type'] != 'http' or scope['method'] in ('GET', 'HEAD'):
            await self.app(scope, receive, send)
            return
        if self.arriving >= self.at_once:
            answer = JSONResponse(dict(detail='too many uploads arrive at once; try again'), 503,
                                  headers={'Retry-After': '1'})
            await answer(scope, receive, send)
            return
        upload = _Upload(self, scope, receive)
        try:
            await self.app(scope, upload.receive, send)
        finally:
            upload.end()


class _Upload:
    """An upload that arrives."""

    def __init__(self, limits, scope, receive):
        self.limits, self._receive, self.size = limits, receive, 0
        self.most = limits.max_bytes + FORM_BYTES
        self.until = asyncio.get_running_loop().time() + limits.seconds
        headers = Headers(scope=scope)
        stated = headers.get('content-length', '')
        self.stated = int(stated) if stated.isdecimal() else 0
        self.is_asking = 'expect' in headers  # it sends nothing before it is told to
        limits.arriving += 1
        self.is_arriving = True

    def end(self):
        if self.is_arriving:
            self.limits.arriving -= 1
            self.is_arriving = False

    async def receive(self):
        """The next part of the upload; after its end, that the client left.

        Raises:
            HTTPException: too much, or too slow.
        """
        if not self.is_arriving:
            return await self._receive()
        if self.stated > self.most and (self.is_asking or self.stated > READ_ON * self.most):
            raise self._too_much()
        message = await self._next()
        while self.size > self.most:
            if not self.is_arriving or self.size > READ_ON * self.most:
                raise self._too_much()
            message = await self._next()
        return message

    async def _next(self):
        left = self.until - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0))
        except asyncio.TimeoutError:
            raise HTTPException(408, f'the upload took more than {self.limits.seconds:g} '
                                'seconds') from None
        self.size += len(message.get('body', b''))
        if not message.get('more_body', False):
            self.end()
        return message

    def _too_much(self):
        return HTTPException(413, f'the upload has more than {self.limits.max_bytes / 2**20:g} '
                             'MiB; make the image smaller')
