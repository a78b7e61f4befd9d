"""OpenTelemetry traces, behind the extra ``traces``: a span for each request, and in it one each for queue, generate
and encode.

Where they go is told by OpenTelemetry's own environment, ``OTEL_EXPORTER_OTLP_ENDPOINT`` above all. The ready-made
instrumentation of FastAPI is not used, because it writes every address down, and a seed may be somebody's name.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine.job import Timing
from service.engine.watch import Watch
from service.observability import method_of, route_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

_QUIET: Final = ("/healthz", "/readyz", "/metrics")  # asked for every few seconds, so they would drown the rest
_SERVER_ERROR: Final = 500


class TracingError(Exception):
    """Traces cannot be made; the text is one sentence for the user."""


class Tracing(Watch):
    """Makes spans.

    Args:
        processor: takes the spans that are done; None sends them off over OTLP/HTTP, in batches.

    Raises:
        TracingError: OpenTelemetry is not installed.
    """

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        try:
            from opentelemetry import propagate, trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise TracingError("traces need OpenTelemetry: pip install 'emoface[traces]'.") from None
        resource = Resource.create()
        if str(resource.attributes["service.name"]).startswith("unknown_service"):  # OTEL_SERVICE_NAME says nothing
            resource = resource.merge(Resource({"service.name": "emoface"}))
        self._provider: TracerProvider = TracerProvider(resource=resource)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("emoface")
        self._extract = propagate.extract
        self._kind, self._failed = trace.SpanKind.SERVER, trace.StatusCode.ERROR

    def close(self) -> None:
        """Send off what has not been sent."""
        self._provider.shutdown()

    def made(self, timing: Timing) -> None:
        """Write down where a picture's time went, below the span of the request that is being answered."""
        offset = time.time_ns() - time.monotonic_ns()
        generated_from = timing.since + timing.queue
        for name, began, seconds in (
            ("queue", timing.since, timing.queue),
            ("generate", generated_from, timing.generate),
            ("encode", timing.encoded_from, timing.encode),
        ):
            start = round(began * 1e9) + offset
            self._tracer.start_span(name, start_time=start).end(start + round(seconds * 1e9))

    async def request(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Have ``app`` answer a request within a span, below the one that the client names with ``traceparent``."""
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = method_of(scope)
        with self._tracer.start_as_current_span(method, context=self._extract(carrier), kind=self._kind) as span:
            span.set_attribute("http.request.method", method)

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= _SERVER_ERROR:
                        span.set_status(self._failed)
                await send(message)

            try:
                await app(scope, receive, told)
            finally:
                route = route_of(scope)
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)


class Traced:
    """ASGI middleware: a span for every request that somebody may wonder about."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["path"] in _QUIET:
            await self._app(scope, receive, send)
        else:
            await self._tracing.request(self._app, scope, receive, send)
