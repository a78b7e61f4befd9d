"""The application: settings and a sampler in, an ASGI app out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import RedirectResponse

from model import FaceSampler
from model.provenance import describe
from service.api import batch, emotions, faces, generate, grid, health, metrics, models, morph, openai, verify
from service.api.answer import HEADERS
from service.api.errors import add_problem_handlers
from service.engine import Engine, Sampler
from service.observability import Metrics, Observed
from service.security import BodyLimit
from service.settings import Settings

_DESCRIPTION = """\
Ask for an emotion, get a face that belongs to nobody. The same `seed` is the same person in every emotion,
and the same request gets the same bytes.

Every error is a problem of [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) that says what is wrong and
what is allowed.
"""


def create_app(settings: Settings, sampler: Sampler | None = None, died: Callable[[], None] = lambda: None) -> FastAPI:
    """Build the service.

    Args:
        settings: see :class:`Settings`.
        sampler: draws the faces; None loads ``settings.weights`` onto ``settings.device``, here and once.
        died: called on the event loop when the inference thread has ended: nothing will be drawn any more.

    Raises:
        WeightsError: the weights cannot be used.
        ValueError: the device is not there.
    """
    loaded: Sampler = sampler if sampler is not None else FaceSampler.load(settings.weights, settings.device)

    metrics_of = Metrics(loaded)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = Engine(
            loaded,
            limit=settings.queue_limit,
            encoder_threads=settings.encoder_threads,
            describe=partial(describe, loaded),
            cache_bytes=settings.cache_mib * 2**20,
            deadline=settings.deadline_seconds,
            died=died,
            watch=metrics_of,
        )
        metrics_of.follow(engine)
        app.state.engine = engine
        engine.start()
        try:
            yield
        finally:
            await asyncio.to_thread(engine.stop, settings.grace_seconds)

    # Swagger UI and its assets come from this process, not from a CDN. ReDoc would fetch its logo elsewhere.
    app = FastAPIOffline(
        docs_url="/docs",
        redoc_url=None,
        title="emoface",
        version=_version(),
        description=_DESCRIPTION,
        lifespan=lifespan,
        swagger_ui_parameters={"tryItOutEnabled": True, "validatorUrl": None, "displayRequestDuration": True},
    )
    app.state.sampler = loaded
    app.state.settings = settings
    app.state.draining = False
    app.state.metrics = metrics_of
    add_problem_handlers(app)
    app.add_middleware(BodyLimit, others={"/verify": verify.MAX_PICTURE})
    # Faces are for any page to show; what changes nothing here is safe to ask for from anywhere.
    app.add_middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "HEAD"], expose_headers=[*HEADERS, "Retry-After"]
    )
    app.add_middleware(Observed, metrics=metrics_of)  # added last, so that it is outermost
    for capability in (generate, faces, batch, grid, morph, emotions, models, verify, openai, metrics, health):
        app.include_router(capability.router)

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("docs")

    return app


def _version() -> str:
    try:
        return version("emoface")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"
