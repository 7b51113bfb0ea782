"""Traces by OpenTelemetry's protocol over HTTP: only where they are switched on, beside everything else.

The follower hands over turns that are over. Their spans wait in a bounded queue; a thread sends them. What the
collector does not take in time is dropped and counted; a turn and the process's end are never held up by it. The
libraries are the extra `otel` of the package and are loaded in the thread.

The standard variables `OTEL_EXPORTER_OTLP_*` (headers, certificates, timeout, compression), `OTEL_SERVICE_NAME` and
`OTEL_RESOURCE_ATTRIBUTES` are heeded, their endpoint excepted: where turns are told is said to Holdfast itself.
Proxies and `.netrc` are not: spans go to the endpoint, and what is said there is what was configured.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from holdfast import __version__
from holdfast.flight.extras import install_line
from holdfast.flight.redact import clean, masked_url, scrub
from holdfast.telemetry.ended import EndedTurn
from holdfast.telemetry.spans import Span, spans_of

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

log = logging.getLogger("holdfast.traces")

WAITING_SPANS = 10_000
"Beyond it new ones are dropped; about 30 MB."
BATCH_SPANS = 512
SEND_TIMEOUT_S = 5.0
"For one batch, tries included; `OTEL_EXPORTER_OTLP_TIMEOUT` has another."
GATHER_S = 1.0
"So long a batch is gathered."


def advice() -> str:
    """What to say where the packages are missing."""
    return f"traces need packages that are not installed; install them with: {install_line('otel')}"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where traces go."""

    url: str
    "In full, path included."
    instance_id: str = ""
    "Of the gateway process, as in the journal."


class Exporter(Protocol):
    """What of OpenTelemetry's exporter is used."""

    def export(self, spans: Any, /) -> Any:
        """Send; SUCCESS or not."""

    def shutdown(self) -> None:
        """Give up what is being tried."""


def available() -> bool:
    """Whether the packages are installed."""
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http.trace_exporter") is not None
    except ModuleNotFoundError:
        return False


class Traces:
    """Sends spans from a thread of its own. `take` never waits and never raises."""

    def __init__(self, destination: Destination, *, exporter: Exporter | None = None) -> None:
        """`exporter` is for tests."""
        self.spans: Counter[str] = Counter(sent=0, dropped=0, refused=0)
        "How many were sent, dropped because too many waited, and not taken by the collector."
        self._destination = destination
        self._given = exporter
        self._exporter: Exporter | None = exporter
        self._waiting: deque[Span] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._in_hand = 0
        "Spans of the batch that is being sent."
        self._gave_up = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="holdfast-traces", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in self.spans.items())
        return f"<Traces {len(self._waiting)} spans waiting, {counts}>"

    def take(self, turns: list[EndedTurn]) -> None:
        """Turns that are over."""
        for turn in turns:
            spans = spans_of(turn)
            if len(self._waiting) + len(spans) > WAITING_SPANS:
                self.spans["dropped"] += len(spans)
            else:
                self._waiting.extend(spans)
        self._wake.set()

    def close(self, timeout_s: float) -> bool:
        """Send what waits, for at most so long. False if something was left."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._gave_up = True
            if self._exporter is not None:
                self._exporter.shutdown()
        left = len(self._waiting) + self._in_hand
        if left or self.spans["dropped"] or self.spans["refused"]:
            lost = left + self.spans["dropped"] + self.spans["refused"]
            log.warning(
                "%d spans were sent, and %d were not: see %s", self.spans["sent"], lost, self._where()
            )
        return not left and not self._thread.is_alive()

    def _where(self) -> str:
        return masked_url(self._destination.url)  # a token may be in its path

    # -- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._exporter is None:
                self._exporter = make_exporter(self._destination)
            resource = make_resource(self._destination)
        except Exception as error:
            log.warning("no traces are sent: %s: %s", type(error).__name__, clean(scrub(str(error))))
            self._drop_all()
            return
        closing = False
        while not closing:
            self._wake.wait()
            self._closing.wait(GATHER_S)
            self._wake.clear()
            closing = self._closing.is_set()
            self._send_all(resource)

    def _send_all(self, resource: Resource) -> None:
        while self._waiting and not self._gave_up:
            batch = [self._waiting.popleft() for _ in range(min(BATCH_SPANS, len(self._waiting)))]
            self._in_hand = len(batch)
            worked = self._send([readable(span, resource) for span in batch])
            self._in_hand = 0
            self.spans["sent" if worked else "refused"] += len(batch)
            if worked == self._failing:
                self._failing = not worked
                said = "takes traces again" if worked else "takes no traces; turns are carried all the same"
                log.warning("%s %s", self._where(), said)

    def _send(self, spans: list[ReadableSpan]) -> bool:
        assert self._exporter is not None
        try:
            return bool(getattr(self._exporter.export(spans), "name", "") == "SUCCESS")
        except Exception as error:
            log.debug("spans could not be sent: %s", clean(scrub(str(error))))
            return False

    def _drop_all(self) -> None:
        """Nothing can be sent; what comes is dropped and counted."""
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            self.spans["dropped"] += len(self._waiting)
            self._waiting.clear()


# -- OpenTelemetry's own words --------------------------------------------------------------------------------


def make_exporter(destination: Destination) -> Exporter:
    """The exporter. Raises where the packages are missing or the standard variables cannot be meant."""
    import os

    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    for name in ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # says at every try what is said here once
    session = requests.Session()
    session.trust_env = False
    own = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{kind}TIMEOUT") for kind in ("", "TRACES_"))
    timeout_s = None if own else SEND_TIMEOUT_S
    exporter: Exporter = OTLPSpanExporter(endpoint=destination.url, session=session, timeout=timeout_s)
    return exporter


def make_resource(destination: Destination) -> Resource:
    """Who tells: this gateway process."""
    from opentelemetry.sdk.resources import Resource

    told: dict[str, Any] = {"service.version": __version__, "service.instance.id": destination.instance_id}
    resource = Resource.create(told)
    named = resource.attributes.get("service.name")
    if not isinstance(named, str) or named.startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "holdfast"}))
    return resource


def readable(span: Span, resource: Resource) -> ReadableSpan:
    """A span as the exporter takes it."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    def context(span_id: int) -> SpanContext:
        return SpanContext(
            span.trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
        )

    kinds = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
    attributes: Mapping[str, Any] = span.attributes
    return ReadableSpan(
        name=span.name,
        context=context(span.span_id),
        parent=None if span.parent_id is None else context(span.parent_id),
        resource=resource,
        attributes=attributes,
        events=[Event(event.name, dict(event.attributes), event.at_ns) for event in span.events],
        kind=kinds[span.kind],
        instrumentation_scope=InstrumentationScope("holdfast", __version__),
        status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
        start_time=span.start_ns,
        end_time=max(span.end_ns, span.start_ns),
    )
