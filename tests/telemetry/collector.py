"""A collector of OpenTelemetry's on loopback: takes OTLP over HTTP and decodes it with the protocol's own messages."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """What was told to it."""

    def __init__(self) -> None:
        self.url = ""
        self.raw: list[bytes] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.requests: list[ExportTraceServiceRequest] = []
        self.status = 200
        self.hang = threading.Event()
        "Set: requests are read and never answered."
        self.let_go = threading.Event()
        self.heard = threading.Event()

    @property
    def spans(self) -> list[Span]:
        """Every span of every request."""
        return [
            span
            for request in list(self.requests)
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]

    @property
    def resource(self) -> dict[str, Any]:
        """Who told the first."""
        return plain(self.requests[0].resource_spans[0].resource.attributes)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def wait_for(self, count: int, timeout_s: float = 10.0) -> list[Span]:
        """At least so many spans."""
        for _ in range(int(timeout_s / 0.05)):
            if len(self.spans) >= count:
                break
            self.heard.wait(0.05)
            self.heard.clear()
        assert len(self.spans) >= count, f"{len(self.spans)} spans came, not {count}"
        return self.spans


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes of the protocol's as values."""
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector, until the end of the block."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.paths.append(self.path)
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.raw.append(body)
            if collector.hang.is_set():
                collector.let_go.wait(20)
            if collector.status == 200:
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
            collector.heard.set()
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        collector.let_go.set()
        server.shutdown()
        server.server_close()
