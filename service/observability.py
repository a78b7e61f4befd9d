"""The service seen from outside: Prometheus figures, request ids, and a log of JSON lines.

A log line never holds an address or a body: a seed may be somebody's name. It holds the route's template.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import time
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import count
from typing import Any, Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.process_collector import ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine.engine import Engine, Sampler
from service.engine.watch import Event, Watch
from service.later import Later

access_log = logging.getLogger("emoface.access")

REQUEST_ID: Final = "X-Request-ID"
_ID_NAME: Final = REQUEST_ID.lower().encode()
KEY_NAME: Final = "emoface.key"  # where the ASGI scope says whose key a request came with
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_STARTED: Final = random.getrandbits(32)  # different in each process
_NUMBERS: Final = count()
_FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds
_FACES: Final = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics(Watch):
    """The service's figures, in a registry of their own, so that two services in one process do not mix theirs.

    What happens is counted when ``later`` does its work, and always before the figures are told.
    """

    def __init__(self, sampler: Sampler, later: Later) -> None:
        self._later = later
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "emoface_http_requests", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self._seconds = Histogram(
            "emoface_http_request_seconds",
            "From request to the end of its answer.",
            ["route"],
            buckets=_FAST,
            registry=registry,
        )
        self._faces = Counter(
            "emoface_faces", "Faces asked for, by what became of them.", ["outcome"], registry=registry
        )
        self._batch = Histogram("emoface_batch_faces", "Faces in a batch.", buckets=_FACES, registry=registry)
        self._generate = Histogram("emoface_generate_seconds", "Generating a batch.", buckets=_FAST, registry=registry)
        self._queue = Histogram("emoface_queue_seconds", "In the queue, a face.", buckets=_FAST, registry=registry)
        self._encode = Histogram("emoface_encode_seconds", "Encoding a picture.", buckets=_FAST, registry=registry)
        # Now, so that a rate is 0, and not absent, before the first.
        self._outcomes = {event: self._faces.labels(event) for event in get_args(Event)}
        Info("emoface_model", "The weights that are loaded.", registry=registry).info(
            {"name": sampler.name, "sha256": sampler.sha256, "device": sampler.device}
        )

    def follow(self, engine: Engine, sampler: Sampler) -> None:
        """Show an engine's and its sampler's state at the moment of asking."""
        figures: dict[str, tuple[str, Callable[[], float]]] = {
            "emoface_unanswered_faces": ("Different faces that somebody waits for.", lambda: engine.unanswered),
            "emoface_backlog_seconds": ("How long they will take, about.", lambda: engine.backlog),
            "emoface_cache_bytes": ("Pictures that lie ready.", lambda: engine.cached_bytes),
            "emoface_gpu_bytes": ("The GPU's memory that is taken; 0 on a CPU.", lambda: sampler.gpu_bytes),
            "emoface_engine_alive": ("1 while faces can be drawn and encoded.", lambda: float(engine.alive)),
        }
        for name, (meaning, read) in figures.items():
            Gauge(name, meaning, registry=self._registry).set_function(read)

    def text(self) -> bytes:
        """Return the figures in Prometheus's text format. May be called from any thread."""
        self._later.flush()
        return generate_latest(self._registry)

    def batch(self, faces: int, seconds: float, waited: list[float]) -> None:
        """Count a batch."""
        self._later.add(self._count_batch, faces, seconds, waited)

    def encoded(self, seconds: float) -> None:
        """Count a picture."""
        self._later.add(self._encode.observe, seconds)

    def face(self, event: Event) -> None:
        """Count a face."""
        self._later.add(self._outcomes[event].inc)

    def _count_batch(self, faces: int, seconds: float, waited: list[float]) -> None:
        self._batch.observe(faces)
        self._generate.observe(seconds)
        for wait in waited:
            self._queue.observe(wait)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request, at once."""
        requests, durations = self._of(route, method, status)
        requests.inc()
        durations.observe(seconds)

    @cache  # noqa: B019 (there is one of these in a process, and routes, methods and statuses are few)
    def _of(self, route: str, method: str, status: int) -> tuple[Counter, Histogram]:
        """Return a request's own figures: to find them by their labels takes longer than to count."""
        return self._requests.labels(route, method, str(status)), self._seconds.labels(route)


class Observed:
    """ASGI middleware: every request has an id, is counted, and leaves one line in the log, both ``later``."""

    def __init__(self, app: ASGIApp, metrics: Metrics, later: Later) -> None:
        self._app = app
        self._metrics = metrics
        self._later = later

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and look at its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"{_STARTED:08x}{next(_NUMBERS) & 0xFFFFFFFF:08x}"  # different, not secret
        for name, value in scope["headers"]:
            if name == _ID_NAME:
                given = value.decode("latin-1")
                if _ID.fullmatch(given):
                    request_id = given
                break
        began, status, sent = time.monotonic(), 0, 0

        async def told(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (_ID_NAME, request_id.encode())]
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, told)
        except asyncio.CancelledError:
            status = status or 503  # what is cut off at the end of the grace is told that, further out
            raise
        finally:
            seconds = time.monotonic() - began
            status = status or 500
            self._later.add(self._tell, time.time(), request_id, scope, status, seconds, sent)
            self._later.soon()

    def _tell(self, ended: float, request_id: str, scope: Scope, status: int, seconds: float, sent: int) -> None:
        """Count a request, and write its line of the log."""
        route, method = route_of(scope), method_of(scope)
        self._metrics.request(route, method, status, seconds)
        if not access_log.isEnabledFor(logging.INFO):
            return
        told = {
            "request_id": request_id,
            "method": method,
            "route": route,
            "status": status,
            "milliseconds": round(seconds * 1000, 2),
            "bytes": sent,
            **({"key": scope[KEY_NAME]} if KEY_NAME in scope else {}),
        }
        record = access_log.makeRecord(access_log.name, logging.INFO, "", 0, "request", (), None, extra=told)
        record.created, record.msecs = ended, ended % 1 * 1000
        access_log.handle(record)


def route_of(scope: Scope) -> str:
    """Return the template of the address that a request has reached; "none" where there is nothing."""
    return getattr(scope.get("route"), "path_format", None) or "none"


def method_of(scope: Scope) -> str:
    """Return a request's method; "OTHER" for what nobody has heard of, of which there is no end."""
    method: str = scope["method"]
    return method if method in _METHODS else "OTHER"


_METHODS: Final = frozenset(("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"))
_encode: Final = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes a new encoder every time
_EXTRAS: Final = ("request_id", "method", "route", "status", "milliseconds", "bytes", "key")


@lru_cache(1)
def _second(second: int) -> str:
    """Write a moment down, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record down; a traceback stays inside its line."""
        own = record.__dict__
        line: dict[str, Any] = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((name, own[name]) for name in _EXTRAS if name in own)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line)
