"""The application: settings and a sampler in, an ASGI app out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from model import FaceSampler
from model.provenance import describe
from model.sampler import choose_device
from model.software import installed_version
from service.access.gate import Gate
from service.access.keys import KeyRing
from service.access.rates import read_rates
from service.alarms import Alarms
from service.api import batch, emotions, faces, generate, grid, health, metrics, models, morph, openai, verify
from service.api.answer import HEADERS, LOOK_AFTER
from service.api.direct import Direct
from service.api.document import document
from service.api.errors import add_problem_handlers
from service.credentials import read_signer
from service.engine import Engine, Sampler
from service.engine.watch import Watches
from service.later import Later
from service.observability import REQUEST_ID, Metrics, Observed
from service.priority import giving_way
from service.security import BodyLimit
from service.settings import Settings
from service.studio import Studio
from service.tracing import Traced, Tracing

_DESCRIPTION = """\
Ask for an emotion, get a face that belongs to nobody. The same `seed` is the same person in every emotion,
and the same request gets the same bytes.

Every error is a problem of [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) that says what is wrong and
what is allowed.
"""


def create_app(
    settings: Settings,
    sampler: Sampler | None = None,
    died: Callable[[], None] = lambda: None,
    tracing: Tracing | None = None,
) -> FastAPI:
    """Build the service.

    Args:
        settings: see :class:`Settings`.
        sampler: draws the faces; None loads ``settings.weights`` onto ``settings.device``, here and once.
        died: called on the event loop when an inference thread has ended: nothing will be drawn any more.
        tracing: makes the traces; None makes those that ``settings.traces`` asks for.

    Raises:
        WeightsError: the weights cannot be used.
        ValueError: the device is not there.
        KeysError: the API keys cannot be used.
        CredentialsError: pictures cannot be signed as the settings say.
        TracingError: traces are asked for, and OpenTelemetry is not installed.
    """
    tracing = Tracing() if tracing is None and settings.traces else tracing
    keys = None
    if settings.needs_key:
        keys = KeyRing(settings.api_keys.get_secret_value().split(), settings.api_keys_file)
    loaded: Sampler = sampler if sampler is not None else load_sampler(settings)

    later = Later()
    metrics_of = Metrics(loaded, later)

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
            watch=Watches([metrics_of, tracing]) if tracing is not None else metrics_of,
        )
        metrics_of.follow(engine, loaded)
        app.state.engine = engine
        app.state.looks = Alarms(LOOK_AFTER)
        engine.start()
        try:
            yield
        finally:
            # Requests have had their grace by now: this is for what nobody waits for any more.
            await asyncio.to_thread(engine.stop, min(settings.grace_seconds, 1))
            later.close()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)

    # Swagger UI and its assets come from this process, not from a CDN. ReDoc would fetch its logo elsewhere.
    app = FastAPIOffline(
        docs_url="/docs",
        redoc_url=None,
        title="emoface",
        version=installed_version("emoface") or "0",  # a source tree need not be installed
        description=_DESCRIPTION,
        lifespan=lifespan,
        swagger_ui_parameters={"tryItOutEnabled": True, "validatorUrl": None, "displayRequestDuration": True},
        # Our own traces and figures name no seed. FastAPI's come unasked where something else in the process, or the
        # environment, sets OpenTelemetry up.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.sampler = loaded
    app.state.settings = settings
    app.state.draining = False
    app.state.signer = read_signer(settings, loaded.name, loaded.sha256)
    app.state.metrics = metrics_of
    add_problem_handlers(app)
    document(app)
    # What is added last is outermost. The short way is as far out as may be: right behind the gate, if there is one.
    gated = keys is not None or bool(settings.address_rate)  # without them everybody may have everything
    app.add_middleware(BodyLimit, others={"/verify": verify.MAX_PICTURE})
    if gated:
        app.add_middleware(Direct)
        app.add_middleware(
            Gate,
            keys=keys,
            key_rates=read_rates(settings.key_rate) if settings.key_rate else (),
            address_rates=read_rates(settings.address_rate) if settings.address_rate else (),
        )
    app.add_middleware(Studio)
    # Faces are for any page to show; what changes nothing here is safe to ask for from anywhere.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "HEAD"],
        allow_headers=["Authorization", "X-API-Key", REQUEST_ID],
        expose_headers=[*HEADERS, "Retry-After", "RateLimit", "RateLimit-Policy", REQUEST_ID],
    )
    if not gated:
        app.add_middleware(Direct, vary="Origin")
    app.add_middleware(Observed, metrics=metrics_of, later=later)
    if tracing is not None:
        app.add_middleware(Traced, tracing=tracing)
    for capability in (generate, faces, batch, grid, morph, emotions, models, verify, openai, metrics, health):
        app.include_router(capability.router)

    return app


def load_sampler(settings: Settings) -> FaceSampler:
    """Load what draws the faces; on a CPU, what draws lets the rest of this process go first.

    Raises:
        WeightsError: the weights cannot be used.
        ValueError: the device is not there.
    """
    device = choose_device(settings.device)
    load = partial(
        FaceSampler.load,
        settings.weights,
        device,
        batch_size=settings.batch_size or None,
        precision=settings.precision,
        threads=settings.threads or None,
    )
    return giving_way(load) if device == "cpu" else load()
