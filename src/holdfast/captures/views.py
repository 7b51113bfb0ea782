"""What was said inside captured connections: HTTP exchanges or TLS records beside what TCP tells of them.

    listener = Listener()
    for connection in follow(capture, listen=listener):
        view = listener.take(connection)
        lines_for(view), as_json(view)

Texts come from hostile bytes; what is returned here is masked, scrubbed and safe to print.
"""

from __future__ import annotations

import textwrap
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from holdfast.captures import http, tls
from holdfast.captures.http import Body, Conversation, Events, Exchange, Message
from holdfast.captures.http2 import Frames
from holdfast.captures.pieces import Piece
from holdfast.captures.sides import Connection, Direction
from holdfast.captures.telling import LABEL, clock
from holdfast.captures.tls import FAREWELLS, Tls, farewell
from holdfast.flight.flights import counted, duration, size

UNDECIDED_BYTES: Final = 256 * 1024
"A connection that was joined in the middle and has shown neither HTTP nor TLS by then is neither."
MOST_TOLD: Final = 6
"Exchanges of one connection that are told one by one; `--json` has more."
MOST_IN_JSON: Final = 500
TOLD_GAP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class View:
    """What one connection carried. Times inside are seconds since the connection's `began_ns`."""

    number: int
    "The connection's."
    began_ns: int
    conversation: Conversation | None = None
    tls: Tls | None = None
    "Of the connection, or of what was said inside a CONNECT tunnel."

    @property
    def broken(self) -> bool:
        """Whether an answer is there that had begun and did not come to its end, however properly TCP was closed."""
        exchanges = self.conversation.exchanges if self.conversation else []
        return any(
            one.response is not None
            and one.response.head is not None
            and (
                not one.response.body.complete
                or (one.response.body.events is not None and one.response.body.events.misses_its_end)
            )
            for one in exchanges
        )


class Listener:
    """Hears all connections of a capture; `take` gives out what one carried, once it is over."""

    def __init__(self, *, body_of: tuple[int, int] | None = None, keep: int = http.DEFAULT_KEEP) -> None:
        """`body_of`: connection and exchange (from 1) whose body is kept, `keep` bytes of it at most."""
        self._body_of, self._keep = body_of, keep
        self._done: dict[int, View] = {}

    def __call__(self, connection: Connection) -> _Ear:
        wanted = self._body_of is not None and self._body_of[0] == connection.number
        only = self._body_of[1] if self._body_of else None
        reader = http.Reader(keep=self._keep, keep_only=only) if wanted else http.Reader()
        return _Ear(self, connection.began_ns, reader)

    def take(self, connection: Connection) -> View | None:
        """What a finished connection carried; None where nothing was heard."""
        return self._done.pop(connection.number, None)

    def done(self, connection: Connection, view: View) -> None:
        """An ear has heard the end."""
        self._done[connection.number] = view


class _Ear:
    """Hears one connection, and finds out what it is."""

    def __init__(self, listener: Listener, began_ns: int, reader: http.Reader) -> None:
        self._listener, self._began_ns = listener, began_ns
        self._http: http.Reader | None = reader
        self._tls: tls.Reader | None = tls.Reader()
        self._heard = 0

    def data(self, direction: Direction, at_ns: int, payload: bytes) -> None:
        first = not self._heard
        self._heard += len(payload)
        if first and tls.looks_like_tls(payload):
            self._http = None
        self._feed(direction, Piece((at_ns - self._began_ns) / 1e9, payload))

    def gap(self, direction: Direction, at_ns: int, missing: int) -> None:
        self._feed(direction, Piece((at_ns - self._began_ns) / 1e9, missing=missing))

    def _feed(self, direction: Direction, piece: Piece) -> None:
        from_client = direction is Direction.TO_SERVER
        if self._http is not None:
            self._http.feed(piece, from_client=from_client)
        if self._tls is not None:
            self._tls.feed(piece, from_client=from_client)
        if self._http is not None and self._tls is not None:
            self._decide()

    def _decide(self) -> None:
        assert self._http is not None and self._tls is not None
        if self._http.known:
            self._tls = None
        elif self._tls.tls.client.records + self._tls.tls.server.records >= 3:
            self._http = None
        elif self._heard > UNDECIDED_BYTES:
            self._http = self._tls = None

    def closed(self, connection: Connection) -> None:
        client, server = connection.sides
        view = View(connection.number, connection.began_ns)
        told = self._tls.finish() if self._tls is not None else None
        if told is not None and not (told.client.records or told.server.records):
            told = None
        conversation = None
        if self._http is not None:
            conversation = self._http.finish(
                client_closed=client.fin_ns is not None, server_closed=server.fin_ns is not None
            )
            if not conversation.protocol:
                conversation = None
            elif conversation.tunnel is not None:
                told = _inside(conversation)
            else:
                told = None
        if conversation is not None or told is not None:
            view = View(connection.number, connection.began_ns, conversation, told)
            self._listener.done(connection, view)


def _inside(conversation: Conversation) -> Tls | None:
    """TLS inside a tunnel."""
    mine, theirs = conversation.beyond
    if not any(tls.looks_like_tls(piece.data) for piece in (*mine[:1], *theirs[:1])):
        return None
    both = [(True, piece) for piece in mine] + [(False, piece) for piece in theirs]
    return tls.read(sorted(both, key=lambda pair: pair[1].at_s))


def body_of(view: View, number: int) -> Body | None:
    """The body of an exchange's answer; None where there is none of that number."""
    exchanges = view.conversation.exchanges if view.conversation else []
    found = next((one for one in exchanges if one.number == number), None)
    return found.response.body if found and found.response else None


def coding_of(view: View, number: int) -> str:
    """The content coding of an exchange's answer; empty where it is none."""
    exchanges = view.conversation.exchanges if view.conversation else []
    found = next((one for one in exchanges if one.number == number and one.response), None)
    head = found.response.head if found and found.response else None
    coding = ((head.get("content-encoding") if head else None) or "").strip().lower()
    return "" if coding == "identity" else coding


def unpacked(body: bytes, coding: str, bound: int = 64 << 20) -> bytes | None:
    """A gzip or deflate body as far as it can be unpacked; None where the coding is another."""
    if coding not in ("gzip", "x-gzip", "deflate"):
        return None
    unpacker = zlib.decompressobj(47)
    try:
        return unpacker.decompress(body, bound)
    except zlib.error:
        return None


# ----- words


def lines_for(view: View | None, width: int = 100) -> list[str]:
    """What it carried, as lines below those that tell of its packets."""
    if view is None:
        return []
    lines: list[str] = []
    for label, text in _pairs(view):
        head = f"  {label.ljust(LABEL)}"
        lines += textwrap.wrap(
            text,
            max(width, 40),
            initial_indent=head,
            subsequent_indent=" " * len(head),
            break_long_words=False,
            break_on_hyphens=False,
        ) or [head.rstrip()]
    return lines


def _pairs(view: View) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    conversation = view.conversation
    if conversation is not None and conversation.frames is not None:
        pairs += _http2(view, conversation.frames)
    elif conversation is not None:
        told = _chosen(conversation.exchanges)
        for exchange in told:
            pairs += _exchange(view, exchange)
        left = len(conversation.exchanges) + conversation.more - len(told)
        if left:
            pairs.append(("http", f"{counted(left, 'more exchange')}; --json has them"))
        if conversation.tunnel is not None:
            what = conversation.tunnel[1]
            pairs.append(("tunnel", f"after exchange {view.number}.{conversation.tunnel[0]}: {what}"))
    if view.tls is not None:
        pairs += _tls(view, view.tls)
    return pairs


def _chosen(exchanges: Sequence[Exchange]) -> list[Exchange]:
    """The broken ones first, then the last; in their order."""
    broken = [one for one in exchanges if one.response is None or not one.response.body.complete]
    rest = [one for one in exchanges if one not in broken]
    room = MOST_TOLD - min(len(broken), MOST_TOLD)
    return sorted(broken[-MOST_TOLD:] + (rest[-room:] if room else []), key=lambda one: one.number)


def asked(exchange: Exchange) -> str:
    """`POST /v1/messages`, or that it is not in the capture."""
    head = exchange.request.head if exchange.request else None
    return f"{head.first[0]} {head.first[1]}" if head else "a request that is not in the capture"


def _exchange(view: View, exchange: Exchange) -> list[tuple[str, str]]:
    name = f"{view.number}.{exchange.number}"
    response = exchange.response
    head = exchange.request.head if exchange.request else None
    said = f"{name} {asked(exchange)}"
    if head is not None:
        said += f" at {_clock(view, head.at_s)}"
    if response is None:
        return [("http", f"{said}: no answer in the capture")]
    pairs = [("http", f"{said}: {_answered(exchange, response)}")]
    if response.body.events is not None:
        pairs.append(("  events", _events(view, response.body.events)))
    pairs += [("  body", text) for text in _body(view, name, response)]
    return pairs


def _answered(exchange: Exchange, response: Message) -> str:
    head = response.head
    if head is None:
        return "the rest of an answer whose head is not in the capture"
    said = f"{head.first[1]} {head.first[2]}".strip()
    if exchange.request is not None and exchange.request.head is not None:
        said += f" after {duration(max(head.began_s - exchange.request.head.at_s, 0))}"
    ids = [
        f"{name} {value}"
        for name in ("holdfast-turn", "request-id", "x-request-id", "cf-ray")
        if (value := head.get(name))
    ]
    return ", ".join([said, head.get("content-type") or "no content-type", *ids])


def _events(view: View, events: Events) -> str:
    if not events.total:
        return "no whole event came"
    counts = ", ".join(f"{name} {count}" for name, count in events.counts.most_common(6))
    said = f"{counted(events.total, 'event')} ({counts})"
    if events.ended:
        said += ", with the stream's own last event"
    else:
        where = f"inside {events.open_block}" if events.open_block else f"after {events.last}"
        said += f"; it stops {where}, without the stream's own last event"
    if events.error:
        said += f"; the stream says: {events.error}"
    quiet = events.quiet
    if quiet.seconds >= TOLD_GAP_S:
        said += (
            f"; longest gap {duration(quiet.seconds)} from {_clock(view, quiet.began_s)}, after {quiet.after}"
            f" and before {quiet.before}"
        )
    return said


def _body(view: View, name: str, response: Message) -> list[str]:
    body = response.body
    said = []
    if body.complete:
        if body.framing != "none":
            said.append(f"whole, {size(body.seen)}")
    elif body.framing == "length" and body.announced is not None:
        said.append(f"cut: {size(body.seen)} of {size(body.announced)}")
    elif body.framing == "until close":
        said.append(
            f"{size(body.seen)}; it lasts until the close, which was no orderly one or is not captured"
        )
    else:
        said.append(f"cut: {size(body.seen)} came, and no end")
    if body.missing:
        said.append(f"the capture lacks {size(body.missing)} of it")
    if body.lost_thread:
        said.append("its framing could not be followed through a hole")
    if not body.complete and body.ended_s is not None:
        said.append(f"last byte at {_clock(view, body.ended_s)}")
    if body.events is None and body.quiet.seconds >= TOLD_GAP_S:
        said.append(f"longest gap {duration(body.quiet.seconds)}")
    if body.seen and not body.complete:
        said.append(f"what came of it: --body {name}")
    return ["; ".join(said)] if said else []


def _http2(view: View, both: tuple[Frames, Frames]) -> list[tuple[str, str]]:
    pairs = []
    for who, frames in zip(("client", "server"), both, strict=True):
        counts = ", ".join(f"{name} {count}" for name, count in frames.counts.most_common(10))
        said = f"HTTP/2 in the clear, frames of the {who}: {counts or 'none'}"
        said += f"; streams {_list(sorted(frames.streams))}" if frames.streams else ""
        unended = sorted(frames.streams - frames.ended_streams - {s for _, s, _ in frames.resets})
        if unended:
            said += f"; not ended by it: {_list(unended)}"
        if frames.lost_thread:
            said += "; a hole in the capture hides the rest"
        pairs.append(("http", said))
        for at_s, stream, code in frames.resets[:5]:
            pairs.append(("  reset", f"stream {stream} by the {who}: {code} at {_clock(view, at_s)}"))
        for at_s, last, code, text in frames.goaways[:3]:
            quoted = f', "{text}"' if text else ""
            said = f"of the {who}: {code}, last stream {last}{quoted} at {_clock(view, at_s)}"
            pairs.append(("  goaway", said))
    return pairs


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")


def _tls(view: View, told: Tls) -> list[tuple[str, str]]:
    said = [told.version or "TLS, its begin is not in the capture"]
    if told.sni:
        said.append(f"for {told.sni}")
    if told.offered:
        chosen = told.selected or (
            "chosen under encryption" if told.version == "TLS 1.3" else "none chosen in sight"
        )
        said.append(f"ALPN {' or '.join(told.offered)}: {chosen}")
    if told.server_hello_at_s is None and told.hello_at_s is not None:
        said.append("the server said no hello")
    elif told.version and not told.established:
        said.append("no application data both ways")
    pairs = [("tls", ", ".join(said))]
    for who, side in (("client", told.client), ("server", told.server)):
        if not side.records:
            continue
        parts = [f"the {who}'s {counted(side.application_records, 'encrypted record')}"]
        if side.longest_silence_s >= TOLD_GAP_S and side.silence_began_s is not None:
            gap = f"longest silence {duration(side.longest_silence_s)} from {_clock(view, side.silence_began_s)}"
            parts.append(gap)
        parts += [
            f"{'fatal ' if alert.fatal else ''}alert {alert.name} at {_clock(view, alert.at_s)}"
            for alert in side.alerts
            if alert.name
        ]
        hidden = sum(not alert.name for alert in side.alerts)
        if hidden:
            parts.append(f"{counted(hidden, 'alert record')} whose content is encrypted")
        if side.unfinished_bytes:
            parts.append("its last record was cut")
        parts.append(FAREWELLS[farewell(told, side)])
        pairs.append(("", "; ".join(parts)))
    return pairs


def _clock(view: View, at_s: float) -> str:
    return clock(view.began_ns + round(at_s * 1e9))


# ----- for programs


def as_json(view: View | None) -> dict[str, Any]:
    """`{"http": ..., "tls": ...}`, each None where there is none; times are wall time in ns, durations in seconds."""
    if view is None:
        return {"http": None, "tls": None}
    return {
        "http": _conversation_json(view, view.conversation) if view.conversation else None,
        "tls": _tls_json(view, view.tls) if view.tls else None,
    }


def _at(view: View, at_s: float | None) -> int | None:
    return None if at_s is None else view.began_ns + round(at_s * 1e9)


def _conversation_json(view: View, told: Conversation) -> dict[str, Any]:
    return {
        "protocol": told.protocol,
        "exchanges": [_exchange_json(view, one) for one in told.exchanges[:MOST_IN_JSON]],
        "more_exchanges": told.more + max(len(told.exchanges) - MOST_IN_JSON, 0),
        "tunnel": told.tunnel[1] if told.tunnel else None,
        "frames": None
        if told.frames is None
        else {
            who: {
                "counts": dict(frames.counts),
                "streams": sorted(frames.streams),
                "ended": sorted(frames.ended_streams),
                "resets": [
                    {"at_ns": _at(view, at), "stream": stream, "code": code}
                    for at, stream, code in frames.resets
                ],
                "goaways": [
                    {"at_ns": _at(view, at), "last_stream": last, "code": code, "text": text}
                    for at, last, code, text in frames.goaways
                ],
            }
            for who, frames in zip(("client", "server"), told.frames, strict=True)
        },
    }


def _exchange_json(view: View, one: Exchange) -> dict[str, Any]:
    request, response = one.request, one.response
    head = request.head if request else None
    return {
        "id": f"{view.number}.{one.number}",
        "method": head.first[0] if head else None,
        "target": head.first[1] if head else None,
        "asked_ns": _at(view, head.at_s) if head else None,
        "request_headers": [list(pair) for pair in head.headers] if head else None,
        "request_bytes": request.body.seen if request else None,
        "request_complete": request.body.complete if request else None,
        "status": response.status if response else None,
        "interim": list(response.interim) if response else [],
        "answered_ns": _at(view, response.head.began_s) if response and response.head else None,
        "response_headers": [list(pair) for pair in response.head.headers]
        if response and response.head
        else None,
        "body": _body_json(view, response.body) if response else None,
    }


def _body_json(view: View, body: Body) -> dict[str, Any]:
    events = body.events
    return {
        "framing": body.framing,
        "announced_bytes": body.announced,
        "bytes": body.seen,
        "missing_bytes": body.missing,
        "complete": body.complete,
        "lost_thread": body.lost_thread,
        "last_byte_ns": _at(view, body.ended_s),
        "longest_gap_s": round(body.quiet.seconds, 6),
        "events": None
        if events is None
        else {
            "counts": dict(events.counts),
            "ended": events.ended,
            "last": events.last,
            "open_block": events.open_block or None,
            "stop_reason": events.stop_reason or None,
            "error": events.error or None,
            "unfinished_bytes": events.unfinished_bytes,
            "longest_gap_s": round(events.quiet.seconds, 6),
            "gap_after": events.quiet.after,
            "gap_before": events.quiet.before,
        },
    }


def _tls_json(view: View, told: Tls) -> dict[str, Any]:
    return {
        "sni": told.sni,
        "version": told.version,
        "alpn_offered": list(told.offered),
        "alpn_selected": told.selected,
        **{
            who: {
                "records": side.records,
                "application_records": side.application_records,
                "application_bytes": side.application_bytes,
                "alerts": [
                    {"at_ns": _at(view, alert.at_s), "name": alert.name or None, "fatal": alert.fatal}
                    for alert in side.alerts
                ],
                "longest_silence_s": round(side.longest_silence_s, 6),
                "silence_began_ns": _at(view, side.silence_began_s),
                "close_notify": farewell(told, side),
                "missing_bytes": side.missing,
            }
            for who, side in (("client", told.client), ("server", told.server))
        },
    }
