"""Metrics in Prometheus' words: what ended turns add up to, and how the gateway stands at this moment.

Counts begin at 0 with the process, as Prometheus expects. Labels have words of closed vocabularies only: sides,
mechanisms, phases, statuses, remedies; of models the first twenty, then `other`. Never an id, a path, a session, a
client's name or a text of anybody's.
"""

from __future__ import annotations

import platform
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from holdfast import __version__
from holdfast.flight.endings import Phase
from holdfast.flight.redact import clean
from holdfast.telemetry.ended import EndedTurn, code_in, code_of, number

if TYPE_CHECKING:
    from prometheus_client.core import Metric

MODELS = 20
"Names of models that get a label of their own."
LONGEST_MODEL = 64
STATUSES = frozenset(
    (200, 201, 202, 204, 304, 400, 401, 402, 403, 404, 405, 408, 409, 413, 415, 422, 429, 499)
)
STATUSES |= {500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 529}
"Those that get a label of their own; all others are told by their class, `4xx`."
REMEDIES = frozenset(("again", "under the first start", "restart", "splice", "shorten", "cut", "finish"))
HOW_ADOPTED = frozenset(("retry", "fallback"))
KINDS = frozenset(("turn", "opaque"))
_PHASES = frozenset(phase.value for phase in Phase)

SILENCE_S = (10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600, 900, 1800, 2700)
"A silence is noticed after the keepalive's interval, 10 s by default; the rest are timers of clients and boxes."
LONGEST_SILENCE_S = (0.5, 1, 2, 5, 10, 15, 20, 30, 60, 90, 120, 180, 300, 600, 900, 1800)
FIRST_EVENT_S = (0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300, 600)
DURATION_S = (0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180, 300, 600, 900, 1800, 3600)

Labels = tuple[str, ...]


class Gauges(Protocol):
    """How the gateway stands; `gateway.gauges` reads it."""

    @property
    def turns(self) -> Mapping[str, int]:
        """Unfinished ones by state."""

    @property
    def upstream_up(self) -> bool | None:
        """None until it was reached for the first time."""

    @property
    def outage_s(self) -> float:
        """How long it has been away; 0 while it is not."""

    @property
    def memory_used_bytes(self) -> int:
        """Of answers and requests, in memory."""

    @property
    def memory_limit_bytes(self) -> int:
        """What they may take at most."""

    @property
    def connections(self) -> int:
        """Open client connections."""

    @property
    def refused(self) -> Mapping[int, int]:
        """Requests that became no turn, by the status they were answered with."""

    @property
    def lost_after_cuts(self) -> int:
        """Answers that were cut, and whose rest never came whole."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the rest of the process stands."""

    ready: bool = True
    dropped_turns: int = 0
    dropped_answers: int = 0
    journal_works: bool = True
    missed: int = 0
    "Ended turns that are in no count here."
    spans: Mapping[str, int] | None = None
    "Of traces, by what became of them; None where they are switched off."


@dataclass(slots=True)
class Histogram:
    """How often a value was at most so large."""

    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def add(self, value: float) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bound and cumulative count, the last without bound."""
        found, so_far = [], 0
        for bound, count in zip([*self.bounds, float("inf")], self.counts, strict=True):
            so_far += count
            found.append((_bound(bound), float(so_far)))
        return found


def _bound(value: float) -> str:
    return "+Inf" if value == float("inf") else str(float(value))


@dataclass(frozen=True, slots=True)
class Family:
    """One metric's name, help and labels."""

    name: str
    says: str
    labels: Labels = ()
    bounds: Sequence[float] = ()
    "Of a histogram; empty for a counter."


_TURNS = Family(
    "holdfast_turns",
    "Requests that are over, by kind and by the status the client was given.",
    ("kind", "status"),
)
_ATTEMPTS = Family("holdfast_attempts", "Requests sent upstream.")
_RESPONSES = Family("holdfast_upstream_responses", "Answers of upstream by status.", ("status",))
_ENDINGS = Family(
    "holdfast_endings",
    "Why turns, attempts and client connections that left early ended.",
    ("of", "code", "side", "mechanism"),
)
_HEALED = Family("holdfast_healed", "Breaks of answers that were healed.", ("remedy", "mechanism"))
_SAVED = Family("holdfast_saved_turns", "Turns that finished although their client would have lost them.")
_SPARED = Family(
    "holdfast_generations_not_started_twice",
    "Generations that a client asked for again (spared), or was about to (held).",
    ("how",),
)
_KEEPALIVES = Family("holdfast_keepalives", "Keepalives told to clients.")
_ADOPTED = Family("holdfast_adopted", "Client connections that took up an answer again.", ("how",))
_ORPHANS = Family("holdfast_orphans", "Unfinished answers that lost their last listener.")
_INPUT = Family("holdfast_input_tokens", "Tokens of prompts, cached ones included.", ("model",))
_OUTPUT = Family("holdfast_output_tokens", "Tokens of answers.", ("model",))
_WASTED = Family("holdfast_wasted_tokens", "Output tokens of answers that nobody fetched.")
_REQUEST_BYTES = Family("holdfast_request_bytes", "Bodies of requests.")
_ANSWER_BYTES = Family("holdfast_answer_bytes", "Answers as upstream sent them.")
_KEPT = Family("holdfast_answers_kept", "Answers put into the attic.", ("complete",))
COUNTERS = (
    _TURNS, _ATTEMPTS, _RESPONSES, _ENDINGS, _HEALED, _SAVED, _SPARED, _KEEPALIVES, _ADOPTED, _ORPHANS, _INPUT,
    _OUTPUT, _WASTED, _REQUEST_BYTES, _ANSWER_BYTES, _KEPT,
)  # fmt: skip

_DURATION = Family(
    "holdfast_turn_duration_seconds", "From a request's arrival to its end.", ("kind",), DURATION_S
)
_FIRST_EVENT = Family(
    "holdfast_first_event_seconds", "From a request's arrival to its answer's first event.", (), FIRST_EVENT_S
)
_SILENCE = Family(
    "holdfast_silence_seconds",
    "Silences of upstream that were bridged, by what was under way.",
    ("phase",),
    SILENCE_S,
)
_LONGEST = Family(
    "holdfast_longest_silence_seconds", "Longest silence of upstream per turn.", (), LONGEST_SILENCE_S
)
HISTOGRAMS = (_DURATION, _FIRST_EVENT, _SILENCE, _LONGEST)


class Tally:
    """What ended turns add up to. Turns in, sums out; one thread adds while another reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[Labels]] = {family.name: Counter() for family in COUNTERS}
        self._histograms: dict[str, dict[Labels, Histogram]] = {family.name: {} for family in HISTOGRAMS}
        self._models: set[str] = set()
        for plain in COUNTERS:
            if not plain.labels:
                self._counts[plain.name][()] = 0  # there from the beginning: a rate needs a first value
        for how in ("spared", "held"):
            self._counts[_SPARED.name][(how,)] = 0

    def __repr__(self) -> str:
        return f"<Tally of {sum(self._counts[_TURNS.name].values())} turns>"

    def add(self, turns: Iterable[EndedTurn]) -> None:
        """Count turns that are over."""
        with self._lock:
            for turn in turns:
                self._add(turn)

    def _add(self, turn: EndedTurn) -> None:
        kind = turn["kind"] if turn["kind"] in KINDS else "other"
        self._count(_TURNS, 1, kind, status_label(turn["status"]))
        self._ended("turn", code_of(turn["ending_code"]))
        if turn.took_s is not None:
            self._observe(_DURATION, turn.took_s, kind)
        for family, name in (
            (_ATTEMPTS, "attempts"),
            (_KEEPALIVES, "keepalives"),
            (_WASTED, "wasted_tokens"),
        ):
            self._count(family, turn[name] or 0)
        self._count(_REQUEST_BYTES, turn["request_bytes"] or 0)
        self._count(_ANSWER_BYTES, turn["answer_bytes"] or 0)
        self._count(_SPARED, turn["spared"] or 0, "spared")
        self._count(_SPARED, turn["held"] or 0, "held")
        self._count(_SAVED, turn["saved_from"] is not None)
        if kind == "turn":
            self._observe(_LONGEST, turn["longest_quiet_s"] or 0.0)
            model = self._model(turn["model"])
            for family, name in ((_INPUT, "input_tokens"), (_OUTPUT, "output_tokens")):
                if turn[name] is not None:
                    self._count(family, turn[name], model)
        self._add_moments(turn)

    def _add_moments(self, turn: EndedTurn) -> None:
        begun, phase = False, "other"
        for mono_s, _, name, data in turn.moments:
            if name == "FirstEventArrived" and not begun:
                begun = True
                self._observe(_FIRST_EVENT, max(0.0, mono_s - turn["started_mono_s"]))
            elif name == "QuietNoticed":
                phase = _word(data.get("phase"), _PHASES)
            elif name == "QuietEnded" and (quiet_s := number(data.get("quiet_s"))) is not None:
                self._observe(_SILENCE, quiet_s, phase)
            elif name == "HeadersArrived":
                self._count(_RESPONSES, 1, status_label(data.get("status")))
            elif name in ("AttemptEnded", "ReaderLeft") and (code := code_in(data)) is not None:
                self._ended("attempt" if name == "AttemptEnded" else "reader", code)
            elif name == "Healed":
                broke = code_of(data.get("broke")).mechanism
                self._count(_HEALED, 1, _word(data.get("remedy"), REMEDIES), broke)
            elif name == "ReaderJoined" and data.get("how") != "first":
                self._count(_ADOPTED, 1, _word(data.get("how"), HOW_ADOPTED))
            elif name == "TurnOrphaned":
                self._count(_ORPHANS, 1)
            elif name == "AnswerKept":
                self._count(_KEPT, 1, "yes" if data.get("complete") is True else "no")

    def _ended(self, what: str, code: tuple[str, str, str, str]) -> None:
        self._count(_ENDINGS, 1, what, *code[:3])

    def _count(self, family: Family, by: int, *labels: str) -> None:
        self._counts[family.name][labels] += by

    def _observe(self, family: Family, value: float, *labels: str) -> None:
        found = self._histograms[family.name].get(labels)
        if found is None:
            found = self._histograms[family.name][labels] = Histogram(family.bounds)
        found.add(value)

    def _model(self, name: object) -> str:
        if not isinstance(name, str) or not name:
            return "unknown"
        shown = clean(name, limit=LONGEST_MODEL)
        if shown not in self._models:
            if len(self._models) >= MODELS:
                return "other"
            self._models.add(shown)
        return shown

    def families(self) -> list[Metric]:
        """The sums, for Prometheus' library."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        told: list[Metric] = []
        with self._lock:
            for family in COUNTERS:
                counter = CounterMetricFamily(family.name, family.says, labels=family.labels)
                for labels, count in sorted(self._counts[family.name].items()):
                    counter.add_metric(labels, count)
                told.append(counter)
            for family in HISTOGRAMS:
                histogram = HistogramMetricFamily(family.name, family.says, labels=family.labels)
                for labels, found in sorted(self._histograms[family.name].items()):
                    histogram.add_metric(labels, found.buckets(), found.total)
                told.append(histogram)
        return told


def status_label(status: object) -> str:
    """`200`, `429`; the class of one that is seldom, `4xx`; `none` where there was none."""
    if status is None:
        return "none"
    if not isinstance(status, int) or not 100 <= status < 600:
        return "other"
    return str(status) if status in STATUSES else f"{status // 100}xx"


def _word(value: object, known: frozenset[str]) -> str:
    return value if isinstance(value, str) and value in known else "other"


# -- how things stand ---------------------------------------------------------------------------------------


def standing(gauges: Gauges, health: Health) -> Iterator[Metric]:
    """Gauges, and counts that others keep."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    def gauge(name: str, says: str, value: float) -> Metric:
        return GaugeMetricFamily(name, says, value=value)

    turns = GaugeMetricFamily("holdfast_open_turns", "Turns that are not over, by state.", labels=["state"])
    for state, count in sorted(gauges.turns.items()):
        turns.add_metric([state], count)
    yield turns
    yield gauge("holdfast_open_connections", "Open client connections.", gauges.connections)
    refused = CounterMetricFamily(
        "holdfast_refused_requests",
        "Requests that the gateway refused, by the status they were answered with.",
        labels=["status"],
    )
    for status, count in sorted(gauges.refused.items()):
        refused.add_metric([str(status)], count)
    yield refused
    yield CounterMetricFamily(
        "holdfast_lost_after_cuts",
        "Answers that were cut, each counted as healed and saved, and whose rest never came whole.",
        value=gauges.lost_after_cuts,
    )
    if gauges.upstream_up is not None:
        # Until it was reached for the first time, it is neither.
        yield gauge(
            "holdfast_upstream_up", "Whether upstream could be reached when last tried.", gauges.upstream_up
        )
    yield gauge(
        "holdfast_upstream_outage_seconds",
        "How long upstream has been away; 0 while it is not.",
        gauges.outage_s,
    )
    yield gauge(
        "holdfast_memory_used_bytes", "Memory taken by answers and requests.", gauges.memory_used_bytes
    )
    yield gauge(
        "holdfast_memory_limit_bytes", "What they may take; the rest goes to disk.", gauges.memory_limit_bytes
    )
    yield gauge("holdfast_ready", "Whether new turns are taken.", health.ready)
    yield gauge("holdfast_journal_up", "Whether the journal can be written to.", health.journal_works)
    dropped = CounterMetricFamily(
        "holdfast_journal_dropped", "What the journal could not write, by what.", labels=["what"]
    )
    dropped.add_metric(["turn"], health.dropped_turns)
    dropped.add_metric(["answer"], health.dropped_answers)
    yield dropped
    yield CounterMetricFamily(
        "holdfast_uncounted_turns", "Turns that ended and are in no count here.", value=health.missed
    )
    if health.spans is not None:
        spans = CounterMetricFamily(
            "holdfast_spans", "Spans of traces by what became of them.", labels=["result"]
        )
        for result, count in sorted(health.spans.items()):
            spans.add_metric([result], count)
        yield spans
    build = InfoMetricFamily("holdfast_build", "What runs here.")
    build.add_metric(
        [], {"version": __version__, "python": platform.python_version(), "system": platform.system()}
    )
    yield build


class _Collector:
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def exposition(tally: Tally, gauges: Gauges, health: Health, accept: str) -> tuple[bytes, str]:
    """The page for a scraper that accepts this, and its content type: OpenMetrics where asked for, else text."""
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector([*tally.families(), *standing(gauges, health)]))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
