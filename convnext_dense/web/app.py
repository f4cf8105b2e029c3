"""The application: a page, the models that it shows, and the endpoint that predicts."""
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple
from uuid import uuid4

from fastapi import FastAPI, File, HTTPException, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware

from convnext_dense import __version__
from convnext_dense.errors import InputError, in_one_line
from convnext_dense.web.guards import Admission, AnswerHeaders, UploadLimits
from convnext_dense.web.schema import Prediction, Refusal, Service
from convnext_dense.web.serving import ServedModel, Wanted
from convnext_dense.web.turns import Busy, Turns, unless
from convnext_dense.web.uploads import TooLarge, WrongType, keep_upload, shown_name

STATIC = Path(__file__).parent / 'static'
UPLOAD_SECONDS = 60.  # that an upload may take
ARRIVING = 32  # uploads at once
LEFT = 499  # the status, which nobody reads, of a request whose client is gone


class Limits(NamedTuple):
    """What requests may ask for.

    Attributes:
        threshold (float): least score of objects where a request names none.
        lowest (float): least score that may be asked for; that of the predictors.
        max_bytes (int): of an upload.
        max_pixels (int): of an image.
        queue (int): requests that may wait for a model.
        upload_seconds (float): that an upload may take to arrive.
    """
    threshold: float = .3
    lowest: float = .05
    max_bytes: int = 32 * 2**20
    max_pixels: int = 25_000_000
    queue: int = 8
    upload_seconds: float = UPLOAD_SECONDS


def build_app(models: Sequence[ServedModel], limits: Limits, *, token: str | None = None,
              hosts: Sequence[str] = ('*', ), cookie: str = 'convnext-dense') -> FastAPI:
    """The application.

    Args:
        models (Sequence[ServedModel]): one or more, of different names; the first is that of a
            request that names none.
        limits (Limits): what requests may ask for.
        token (str | None): what everybody must know; None is nothing.
        hosts (Sequence[str]): names that the server may be called by. A page elsewhere whose name
            was pointed at this machine calls it by another.
        cookie (str): name of the cookie for the token.

    Returns:
        FastAPI: an ASGI application.
    """
    by_name = {model.name: model for model in models}
    queues = {model.name: Turns(limits.queue) for model in models}
    service = Service(models=[model.describe() for model in models], **{
        name: getattr(limits, name) for name in ('threshold', 'lowest', 'max_bytes', 'max_pixels')})

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory(prefix='convnext-dense-', ignore_cleanup_errors=True
                                         ) as folder:
            app.state.uploads, app.state.queues = Path(folder), queues
            yield
            for turns in queues.values():
                turns.close()

    # its pages of documentation load scripts from elsewhere; docs/serve.md has the schema in words
    app = FastAPI(title='convnext-dense serve', version=__version__, docs_url=None, redoc_url=None,
                  openapi_url='/api/openapi.json', lifespan=lifespan)
    app.add_middleware(UploadLimits, max_bytes=limits.max_bytes, seconds=limits.upload_seconds,
                       at_once=ARRIVING)
    app.add_middleware(Admission, token=token, cookie=cookie)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(AnswerHeaders)
    _add_error_handlers(app)

    @app.get('/', include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC / 'index.html')

    @app.get('/api/models')
    def served_models() -> Service:
        """The models with their classes, and the limits of uploads."""
        return service

    @app.post('/api/predict', response_model=Prediction, responses={
        status: dict(model=Refusal, description=text) for status, text in (
            (404, 'there is no such model'), (408, 'the upload took too long'),
            (413, 'too many bytes, or pixels'), (415, 'no image of a kind that is taken'),
            (422, 'a damaged image, a wrong parameter, or a model that fails on the image'),
            (503, 'too many requests wait; Retry-After says for how many seconds'))})
    async def predict(
            request: Request,
            image: Annotated[UploadFile, File(description='JPEG, PNG, WebP, GIF, BMP or TIFF')],
            model: Annotated[str, Query(description='its name')] = models[0].name,
            threshold: Annotated[float, Query(
                ge=limits.lowest, le=1, description='least score of objects')] = limits.threshold,
            label_map: Annotated[bool, Query(description='of a segmenter')] = False,
            preview: Annotated[bool, Query(description='the image as the model read it')] = False,
    ) -> Response:
        """What a model finds in an image; the form's part ``image`` is the file."""
        if model not in by_name:
            raise HTTPException(404, f'there is no model {model!r} here, but '
                                f'{" and ".join(by_name)}')
        name = shown_name(image.filename)
        path = request.app.state.uploads / f'{uuid4().hex}{Path(name).suffix[:8]}'
        try:
            await run_in_threadpool(keep_upload, image.file, path, name, limits.max_pixels)
            content = await unless(_left(request), queues[model].run(partial(
                by_name[model].predict, path, name, Wanted(threshold, label_map, preview))))
        finally:
            path.unlink(missing_ok=True)
        if content is None:
            return Response(status_code=LEFT)
        return Response(content, media_type='application/json')

    app.mount('/static', StaticFiles(directory=STATIC))
    return app


async def _left(request: Request) -> None:
    """Wait until the client is gone; the whole request was read before."""
    while (await request.receive())['type'] != 'http.disconnect':
        pass


def _add_error_handlers(app: FastAPI) -> None:
    """Every refusal is ``{"detail": "one line"}``."""
    def answer(status: int, detail: str, **headers: str) -> JSONResponse:
        return JSONResponse(dict(detail=detail), status, headers=headers)

    @app.exception_handler(InputError)
    async def input_error(request: Request, error: InputError) -> JSONResponse:
        status = 415 if isinstance(error, WrongType) else 413 if isinstance(
            error, TooLarge) else 422
        return answer(status, str(error))

    @app.exception_handler(Busy)
    async def busy(request: Request, error: Busy) -> JSONResponse:
        return answer(503, 'too many requests wait for this model; try again in '
                      f'{error.seconds} s', **{'Retry-After': str(error.seconds)})

    @app.exception_handler(RequestValidationError)
    async def wrong_parameter(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return answer(422, f'{first["loc"][-1]}: {first["msg"]}')

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return answer(500, f'the server failed: {in_one_line(error)}')
