"""Traces: a span for each request and for each of its rooms, and nothing that may be a name."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from service.app import create_app
from service.settings import Settings
from service.tracing import Tracing, TracingError
from tests.service.serving import StubSampler, live, until_now


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def sampler() -> StubSampler:
    return StubSampler()


@pytest.fixture
def traced(spans: InMemorySpanExporter, sampler: StubSampler) -> Iterator[httpx.Client]:
    with live(create_app(Settings(), sampler, tracing=Tracing(SimpleSpanProcessor(spans)))) as client:
        yield client


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_a_request_has_a_span_with_one_for_each_room(traced: httpx.Client, spans: InMemorySpanExporter) -> None:
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    answer = traced.get("/faces/happy/Grace%20Hopper.png", headers={"traceparent": f"00-{trace}-{parent}-01"})
    assert answer.status_code == 200
    until_now(lambda: len(spans.get_finished_spans()) == 4)
    found = by_name(spans)
    request = found["GET /faces/{emotion}/{seed}.{format}"]
    assert request.kind is SpanKind.SERVER
    assert request.parent is not None
    assert (f"{request.parent.trace_id:032x}", f"{request.parent.span_id:016x}") == (trace, parent)
    assert dict(request.attributes or {})["http.response.status_code"] == 200
    assert request.start_time is not None
    assert request.end_time is not None
    own, last = request.get_span_context(), request.start_time
    assert own is not None
    for name in ("queue", "generate", "encode"):
        span = found[name]
        assert span.parent is not None
        assert span.parent.span_id == own.span_id
        assert span.start_time is not None
        assert span.end_time is not None
        assert last <= span.start_time <= span.end_time <= request.end_time
        last = span.start_time
    everything = json.dumps([json.loads(span.to_json()) for span in spans.get_finished_spans()])
    assert "Grace" not in everything, "a seed may be a name"
    assert "Hopper" not in everything


def test_a_picture_that_lay_ready_has_no_rooms(traced: httpx.Client, spans: InMemorySpanExporter) -> None:
    traced.get("/faces/happy/7.png")
    until_now(lambda: len(spans.get_finished_spans()) == 4)
    spans.clear()
    traced.get("/faces/happy/7.png")
    until_now(lambda: spans.get_finished_spans())
    assert all(span.kind is SpanKind.SERVER for span in spans.get_finished_spans())


def test_a_failure_is_an_error_and_a_refusal_is_none(
    traced: httpx.Client, spans: InMemorySpanExporter, sampler: StubSampler
) -> None:
    sampler.error = RuntimeError("broken")
    assert traced.post("/generate", json={"emotion": "happy", "seed": 1}).status_code == 500
    assert traced.post("/generate", json={"emotion": "hapy"}).status_code == 422
    assert traced.request("PROPFIND", "/nowhere").status_code == 404
    until_now(lambda: len(spans.get_finished_spans()) == 3)
    told = [(span.name, span.status.status_code) for span in spans.get_finished_spans()]
    assert told == [
        ("POST /generate", StatusCode.ERROR),
        ("POST /generate", StatusCode.UNSET),
        ("OTHER none", StatusCode.UNSET),
    ]


def test_health_is_not_traced(traced: httpx.Client, spans: InMemorySpanExporter) -> None:
    for address in ("/healthz", "/readyz", "/metrics"):
        assert traced.get(address).status_code == 200
    assert traced.get("/emotions").status_code == 200
    until_now(lambda: spans.get_finished_spans())
    assert [span.name for span in spans.get_finished_spans()] == ["GET /emotions"]


def test_they_are_sent_over_otlp_and_the_last_ones_at_the_end(
    monkeypatch: pytest.MonkeyPatch, sampler: StubSampler
) -> None:
    got: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        with live(create_app(Settings(traces=True), sampler)) as client:
            client.get("/faces/happy/7.png")
        collector.shutdown()
        thread.join()
    assert [path for path, _ in got] == ["/v1/traces"]
    assert all(name in got[0][1] for name in (b"emoface", b"queue", b"generate", b"encode"))


def test_without_the_extra_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(TracingError, match=r"pip install 'emoface\[traces\]'"):
        create_app(Settings(traces=True), StubSampler())


def test_nothing_is_traced_that_nobody_asked_for(
    spans: InMemorySpanExporter, sampler: StubSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)  # what other code in the process may have set up
    with live(create_app(Settings(), sampler)) as client:
        assert client.get("/faces/happy/Grace%20Hopper.png").status_code == 200
    assert spans.get_finished_spans() == ()
