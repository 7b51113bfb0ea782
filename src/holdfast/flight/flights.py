"""Flights: a turn's moments told as a story, and a turn in one line. Values in, text out.

Every text here may hold names that came from clients and providers; all of it is cleaned before it is returned.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from holdfast.flight import moments as m
from holdfast.flight.cuts import Row
from holdfast.flight.endings import Ending, Mechanism, Phase, Side, final, taken_apart
from holdfast.flight.evidence import TOLD
from holdfast.flight.instant import Instant
from holdfast.flight.moments import Moment
from holdfast.flight.reading import StoredTurn, UnknownMoment
from holdfast.flight.record import TurnRecord
from holdfast.flight.redact import clean

SLEEP_S = 2.0
"If the wall clock gained more than this on the monotonic one, the machine slept (or its clock was set)."
NOTED_WITHIN_S = 5.0
"So near to a sleep that the gateway noted itself, it is the same one, and is not told twice."


# ----- words


def duration(seconds: float) -> str:
    """`0.42 s`, `12.3 s`, `304 s`, `16m 04s`, `2h 05m`: seconds while a person still thinks in them."""
    if seconds < 0.001:
        return "0 s"
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes}m {rest:02d}s"
    return f"{minutes // 60}h {minutes % 60:02d}m"


def size(count: int) -> str:
    """`812 bytes`, `14 kB`, `3.2 MB`."""
    if count < 1000:
        return counted(count, "byte")
    if count < 999_500:
        return f"{count / 1000:.0f} kB" if count >= 10_000 else f"{count / 1000:.1f} kB"
    return f"{count / 1e6:.1f} MB"


def percent(share: float) -> str:
    """`12%`, `3.5%`, `0.50%`: as many decimals as its size asks for, alike in a sentence and a column. What is more than
    nothing is never less than `0.01%`."""
    hundredths = max(share * 100, 0.01) if share else 0.0
    return f"{hundredths:.{_decimals(hundredths, 10)}f}%"


def rate(per_1000: float) -> str:
    """`348`, `52.6`, `0.47`: a number per thousand, as many decimals as its size asks for. Days tell no more of it."""
    return f"{per_1000:,.{_decimals(per_1000, 100)}f}"


def _decimals(value: float, whole: int) -> int:
    """None from `whole` on, two below 1, else one; by the number as it will be shown (9.97 is shown as 10). 0 has none."""
    return 0 if not value or round(value, 1) >= whole else 1 if round(value, 2) >= 1 else 2


def counted(count: int, noun: str) -> str:
    """`1 byte`, `2 bytes`, `3 tries`, `2,000 addresses`."""
    if count == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


_SUBJECT = {
    Side.CLIENT: "the client",
    Side.PROVIDER: "upstream",
    Side.GATEWAY: "the gateway",
    Side.PATH: "the network path",
    Side.MACHINE: "this machine",
}

_PHASE = {
    Phase.RESOLVING: "while its name was being looked up",
    Phase.CONNECTING: "while connecting",
    Phase.TLS: "during the TLS handshake",
    Phase.SENDING: "while the request was being sent",
    Phase.AWAITING_HEADERS: "before upstream's headers came",
    Phase.AWAITING_FIRST_EVENT: "before the first event",
    Phase.BETWEEN_BLOCKS: "between two content blocks",
    Phase.IN_TEXT: "inside text",
    Phase.IN_THINKING: "inside thinking",
    Phase.IN_TOOL_USE: "inside a tool call",
    Phase.IN_BODY: "inside the answer's body",
    Phase.AFTER_END: "after the answer's end",
    Phase.POOLED_IDLE: "between requests",
}

_DEED = {
    Mechanism.FIN: "closed the connection",
    Mechanism.RST: "reset the connection",
    Mechanism.FIN_THEN_RST: "closed the connection and then reset it",
    Mechanism.GOAWAY: "gave the HTTP/2 connection up (GOAWAY)",
    Mechanism.STREAM_RESET: "reset the HTTP/2 stream (RST_STREAM)",
    Mechanism.KEEPALIVE_UNANSWERED: "gave no sign of life any more",
    Mechanism.UNACKNOWLEDGED: "acknowledged nothing of what was sent any more",
    Mechanism.TRUNCATED: "ended the answer's body before the answer's end",
    Mechanism.TORN: "closed the connection in the midst of a piece of the answer's body",
    Mechanism.STREAM_ERROR: "reported an error inside the stream",
    Mechanism.HTTP_ERROR: "answered with an error status",
    Mechanism.REFUSED: "refused the connection",
    Mechanism.UNREACHABLE: "could not be reached",
    Mechanism.DNS: "has no address: its name was not resolved",
    Mechanism.TLS: "failed the TLS handshake",
    Mechanism.TLS_ALERT: "ended the TLS session with an alert",
    Mechanism.TLS_BROKEN: "sent a TLS record that could not be read",
    Mechanism.PROXY: "could not be reached through the HTTP proxy",
    Mechanism.MALFORMED: "sent something that may not be relayed",
    Mechanism.DEADLINE: "ended it because a limit ran out",
    Mechanism.DOOMED: "did not send it on, because it had broken at the same place again and again",
    Mechanism.CANCELLED: "ended it as asked",
    Mechanism.SUPERSEDED: "came back on another connection",
    Mechanism.SLEPT: "slept, and the connection was dead when it woke",
    Mechanism.ABORTED: "gave the connection up by itself",
    Mechanism.PROCESS_ENDED: "ended the process",
    Mechanism.LOCAL_ERROR: "had an error of its own",
}


def ending_sentence(ending: Ending, *, evidence: bool = True) -> str:
    """`the client reset the connection inside a tool call (C.rst.tool): [Errno 104] ...`, without a full stop.

    With `evidence`, what the socket told stands behind it, as far as a person reads it; all of it is in the JSON.
    """
    if ending.completed:
        return "it ran to its proper end"
    facts = evidence_words(ending) if evidence else []
    seen = f" [{', '.join(facts)}]" if facts else ""
    if ending.mechanism is Mechanism.SUPERSEDED:
        return _superseded(ending) + seen
    subject = _SUBJECT.get(ending.side, "nobody")
    where = "" if (ending.mechanism, ending.phase) in _SAID_BY_THE_DEED else f" {_PHASE[ending.phase]}"
    detail = f": {clean(ending.detail)}" if ending.detail else ""
    return f"{subject} {_DEED[ending.mechanism]}{where} ({ending.code}){detail}{seen}"


def code_sentence(code: str) -> str:
    """`upstream refused the connection while connecting (P.refused.connect)`; a code of another form as it is."""
    try:
        side, mechanism, phase = taken_apart(code)[0].split(".")
        return ending_sentence(Ending(Side(side), Mechanism(mechanism), Phase(phase)))
    except ValueError:
        return clean(code, limit=40)


_SAID_BY_THE_DEED = frozenset(((Mechanism.TLS, Phase.TLS), (Mechanism.DNS, Phase.RESOLVING)))
"Where it was is in the deed already."


def _superseded(ending: Ending) -> str:
    """Somebody else took over: of two attempts the one that spoke first, of two connections the client's later one."""
    who = clean(ending.detail) if "attempt" in ending.detail else "the client came back on another connection"
    return f"{who} {_PHASE[ending.phase]} ({ending.code})"


def error_name(number: int) -> str:
    """`ECONNRESET`; `errno 999` for one that this system has no name for."""
    return errno.errorcode.get(number, f"errno {number}")


def evidence_words(ending: Ending) -> list[str]:
    """What the socket told at the end, in few words each; what was not measured, or is as always, is left out."""
    facts, words = ending.evidence, []

    def number(name: str) -> float | None:
        value = facts.get(name)
        return None if value is None or isinstance(value, bool | str) else float(value)

    for name in ("errno", "so_error"):
        code = number(name)
        if code and "[Errno" not in ending.detail and error_name(int(code)) not in words:
            words.append(error_name(int(code)))
    if isinstance(state := facts.get("tcp_state"), str):
        words.append(f"TCP state {clean(state)}")
    silent = number("silence_s") if number("silence_s") is not None else number("since_byte_s")
    if silent is not None:
        # The time after a FIN in which it was held open, to see whether a reset followed, is ours.
        silent = max(silent - (number("half_closed_ms") or 0.0) / 1000, 0.0)
        words.append(f"silent for {duration(silent)}")
    if (event := number("since_event_s")) is not None and silent is not None and event - silent > 1:
        words.append(f"no event for {duration(event)}")
    if (ack := number("last_ack_recv_ms")) is not None:
        words.append(f"last acknowledgement {duration(ack / 1000)} before")
    if unacked := number("unacked_bytes"):
        words.append(f"{size(int(unacked))} unacknowledged")
    if probes := number("probes"):
        words.append(f"{counted(int(probes), 'probe')} unanswered")
    if lost := number("retransmits"):
        words.append(f"{counted(int(lost), 'retransmission')} unanswered")
    if (rtt := number("rtt_ms")) is not None:
        words.append(f"round trip {duration(rtt / 1000)}")
    if (age := number("age_s")) is not None:
        words.append(f"connection {duration(age)} old")
    if facts.get("reused") is True:
        words.append("kept from an earlier request")
    if facts.get("peer_closed") is True:
        words.append("a FIN had come before")
    words += [
        f"{clean(name)} {_number(value)}"
        for name, value in facts.items()
        if name in TOLD and value is not None
    ]
    return words


def _number(value: str | int | float | bool) -> str:
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else clean(str(value))


# ----- the story


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a story."""

    at_s: float
    "Seconds since the turn's start, on the monotonic clock."
    name: str
    "The moment's name; `Slept` for what is read off the two clocks."
    text: str
    "A sentence, safe to print."
    by: str = ""
    "Who else saw it: `nginx access.log`, `capture client.pcap`; empty for our own journal. Safe to print."


@dataclass(slots=True)
class _Scene:
    """What the moments so far have told, where a later sentence needs it."""

    inside: str = "before the headers"
    tool: str | None = None
    quiet_inside: str = ""
    silent_s: float | None = None
    "How long upstream had been silent when it was noticed; None where nothing tells."
    readers: int = 0
    "Client connections that follow the answer at this point."
    ended: list[Ending] = field(default_factory=list)
    "Endings that were told with their evidence."


def story(record: TurnRecord) -> list[Line]:
    """The turn told moment by moment."""
    scene, lines, before = _Scene(), [], record.started
    noted = [moment.slept_s for _, moment in record.moments if isinstance(moment, m.MachineSlept)]
    for place, (at, moment) in enumerate(record.moments):
        scene.silent_s = _silent_when_noticed(record, place)
        asleep = (at.wall_ms - before.wall_ms) / 1000 - (at.mono_s - before.mono_s)
        since = at.mono_s - record.started.mono_s
        if asleep > SLEEP_S and not any(abs(asleep - slept_s) < NOTED_WITHIN_S for slept_s in noted):
            text = (
                f"The machine slept for about {duration(asleep)} before this, or its clock was set forward."
            )
            lines.append(Line(since, "Slept", text))
        lines.append(Line(since, _name(moment), clean(sentence(moment, scene), limit=2000)))
        _follow(moment, scene)
        before = at
    return lines


def _silent_when_noticed(record: TurnRecord, place: int) -> float | None:
    """How long the silence had lasted that this moment notices: its end, or what broke it, tells when it began."""
    noticed, moment = record.moments[place]
    if not isinstance(moment, m.QuietNoticed):
        return None
    for at, later in record.moments[place + 1 :]:
        lasted: object = None
        match later:
            case m.QuietEnded(quiet_s=quiet_s):
                lasted = quiet_s
            case m.ReaderLeft(ending=ending) | m.AttemptEnded(ending=ending):
                lasted = ending.evidence.get("silence_s")
            case m.QuietNoticed():
                return None
            case _:
                continue
        if isinstance(lasted, int | float) and not isinstance(lasted, bool):
            before_s = lasted - (at.mono_s - noticed.mono_s)
            return before_s if before_s > 0 else None
    return None


def _name(moment: Moment) -> str:
    return clean(moment.name) if isinstance(moment, UnknownMoment) else type(moment).__name__


def _follow(moment: Moment, scene: _Scene) -> None:
    """Let the scene learn what this moment means for later sentences."""
    match moment:
        case m.HeadersArrived():
            scene.inside = "before the first event"
        case m.FirstEventArrived():
            scene.inside = "between two content blocks"
        case m.BlockOpened(kind=kind, tool=tool):
            scene.inside = f"inside {kind}" + (f" {tool}" if tool else "")
        case m.QuietNoticed(phase=phase, tool=tool):
            scene.quiet_inside = quiet_place(phase, tool, scene.inside)
        case m.AttemptStarted():
            scene.inside = "before the headers"
        case m.ReaderJoined():
            scene.readers += 1
        case m.ReaderLeft(ending=ending):
            scene.readers -= 1
            scene.ended.append(ending)
        case m.AttemptEnded(ending=ending):
            scene.ended.append(ending)
        case _:
            pass


_QUIET_PLACE = {
    Phase.AWAITING_HEADERS.value: "before the headers",
    Phase.AWAITING_FIRST_EVENT.value: "before the first event",
    Phase.BETWEEN_BLOCKS.value: "between two content blocks",
    Phase.IN_TEXT.value: "inside text",
    Phase.IN_THINKING.value: "inside thinking",
    Phase.IN_TOOL_USE.value: "inside tool_use",
    Phase.IN_BODY.value: "inside the body",
}


def quiet_place(phase: str, tool: str | None, otherwise: str) -> str:
    """Where a silence was: `inside tool_use Write`."""
    place = _QUIET_PLACE.get(phase, otherwise)
    return f"{place} {tool}" if tool and place == "inside tool_use" else place


def sentence(moment: Moment, scene: _Scene | None = None) -> str:
    """What one moment says. Not cleaned yet."""
    teller = _TELL.get(type(moment))
    if teller is None:
        return _generic(moment)
    return teller(moment, scene or _Scene())


def _generic(moment: Moment) -> str:
    """For a kind without a sentence of its own: its name and what it holds."""
    data: dict[str, Any] = msgspec.to_builtins(moment)
    if isinstance(moment, UnknownMoment):
        return f"{moment.name}: {moment.data}"
    return f"{type(moment).__name__}: " + ", ".join(f"{key} {value}" for key, value in data.items())


def _request_arrived(x: m.RequestArrived, _: _Scene) -> str:
    known = f"known as {x.profile}" if x.profile and x.profile != "unknown" else "a client that is not known"
    return f"The client asked {x.method} {x.path}; it calls itself {x.agent or 'nothing'}, {known}."


def _request_edited(x: m.RequestEdited, _: _Scene) -> str:
    return f"The request was changed before it went on: {x.edit}" + (f" ({x.detail})." if x.detail else ".")


def _connected(x: m.Connected, _: _Scene) -> str:
    if x.reused:
        kept = f"an HTTP/{x.http} connection" if x.http != "1.1" else "a connection"
        return f"Attempt {x.attempt} took {kept} to {x.address} that was kept from an earlier request."
    over = f" over {x.tls}" if x.tls else " without TLS"
    spoken = f" by HTTP/{x.http}" if x.http != "1.1" else ""
    return f"Attempt {x.attempt} connected to {x.address}{spoken}{over} in {duration(x.took_s)}."


def _headers_arrived(x: m.HeadersArrived, _: _Scene) -> str:
    ids = [f"request id {x.request_id}"] if x.request_id else []
    ids += [f"edge id {x.edge_id}"] if x.edge_id else []
    told = f"Upstream answered attempt {x.attempt} with {x.status}" + (
        f" ({', '.join(ids)})." if ids else "."
    )
    if x.unread:
        told += " The body came encoded, unasked: it was passed on unread, without keepalives and healing."
    return told


def _first_event(x: m.FirstEventArrived, _: _Scene) -> str:
    model = f" from {x.model}" if x.model else ""
    prompt = f"; the prompt had {counted(x.input_tokens, 'token')}" if x.input_tokens is not None else ""
    return f"The answer's first event arrived{model}{prompt}."


_BLOCK = {
    "text": "The model began to write text",
    "thinking": "The model began to think",
    "redacted_thinking": "The model began to think, unreadably",
    "tool_use": "The model began a tool call",
    "server_tool_use": "The model began a tool call that runs on the provider's side",
}


def _block_opened(x: m.BlockOpened, _: _Scene) -> str:
    what = _BLOCK.get(x.kind, f"A block of kind {x.kind} opened")
    return f"{what}{f', {x.tool}' if x.tool else ''} (block {x.index})."


def _quiet_noticed(x: m.QuietNoticed, scene: _Scene) -> str:
    # Whether keepalives follow is not known here: a client may take none. `QuietEnded` has their count.
    silent_s = x.silent_s if x.silent_s is not None else scene.silent_s
    if silent_s is not None:
        silence = f"Upstream had been silent for {duration(silent_s)}"
        return f"{silence} {quiet_place(x.phase, x.tool, scene.inside)}."
    return f"Upstream fell silent {quiet_place(x.phase, x.tool, scene.inside)}."


def _quiet_ended(x: m.QuietEnded, scene: _Scene) -> str:
    silence = f"Upstream had been silent for {duration(x.quiet_s)} {scene.quiet_inside or scene.inside}"
    if not x.keepalives:
        return f"{silence}."
    verb = "held the client" if scene.readers > 0 else "went to the client"
    return f"{silence}; {counted(x.keepalives, 'keepalive')} {verb}."


_JOINED = {
    "retry": "The client came back with the same request",
    "fallback": "The client asked the same turn again without streaming",
}


def _reader_joined(x: m.ReaderJoined, _: _Scene) -> str:
    if x.how == "first":
        return "The client's connection began to follow the answer."
    come = _JOINED.get(x.how, f"Another connection came ({x.how})")
    there = f"; {size(x.behind_bytes)} of the answer were there already" if x.behind_bytes else ""
    return f"{come} and took up this answer (connection {x.reader}){there}."


_VERDICT = {
    "gave_up": "gave up waiting",
    "lost": "was lost",
    "moved_on": "moved on to something else",
    "cancelled": "cancelled",
    "superseded": "came back on another connection",
}


def _reader_left(x: m.ReaderLeft, scene: _Scene) -> str:
    limit = f" at its {x.limit} limit" if x.limit else ""
    limit += f" of {duration(x.limit_s)}" if x.limit and x.limit_s is not None else ""
    if x.limit == "told" and x.limit_s is not None:
        limit = f" at the {duration(x.limit_s)} that it told with its request"
    went = f"The client {_VERDICT.get(x.verdict, x.verdict)}{limit} (connection {x.reader})"
    if x.verdict == "superseded":
        return f"{went} {_PHASE[x.ending.phase]} ({x.ending.code})."
    return f"{went}: {ending_sentence(x.ending, evidence=not _told(x.ending, scene))}."


def _orphaned(x: m.TurnOrphaned, _: _Scene) -> str:
    return (
        f"Nobody followed the answer any more; it went on being generated for up to {duration(x.patience_s)}."
    )


_EXPIRED = {
    "unheard": "it was unheard for too long",
    "size": "it grew too large",
    "displaced": "a newer one of the same agent took its place",
    "moved on": "the client had moved on",
}


def _attempt_ended(x: m.AttemptEnded, scene: _Scene) -> str:
    return f"Attempt {x.attempt} ended: {ending_sentence(x.ending, evidence=not _told(x.ending, scene))}."


def _told(ending: Ending, scene: _Scene) -> bool:
    """Whether what the socket told was said before: one break is written down where it was met, and in what it ended."""
    return any(
        before.code == ending.code and ending.evidence.items() <= before.evidence.items()
        for before in scene.ended
    )


def _witnessed(x: m.EdgeWitnessed, _: _Scene) -> str:
    head = f"A witness, not this request, asked the same address after attempt {x.attempt}"
    if x.status is None:
        return f"{head} and was given no answer either" + (f" ({x.broke})." if x.broke else ".")
    known = [("edge id", x.edge_id), ("at", x.location), ("server", x.server), ("via", x.via)]
    told = ", ".join(f"{name} {value}" for name, value in known if value)
    return f"{head}: it was answered with {x.status} in {duration(x.took_s)}" + (
        f" ({told})." if told else "."
    )


def _planned(x: m.AttemptPlanned, _: _Scene) -> str:
    when = f"in {duration(x.in_s)}" if x.in_s > 0 else "at once"
    return f"Upstream is to be asked again {when}, attempt {x.attempt}, with a change: {x.change} ({x.why})."


_HEALED = {
    "again": "nothing of the answer had been told, so it was asked for again",
    "under the first start": "only its beginning had been told, so another answer goes on behind it",
    "restart": "the client drops the block that was open, and another answer begins in the same stream",
    "splice": "the rest of the text is asked for, and put behind what was told",
    "shorten": "the message was ended after the completed tool call, which the client runs before it goes on",
    "cut": "the message was ended as if cut by a limit, so that the client asks for the rest by itself",
    "finish": "only its last event was missing, and the gateway said it",
}


def _healed(x: m.Healed, _: _Scene) -> str:
    return f"The answer broke ({x.broke}): {_HEALED.get(x.remedy, x.remedy)}."


def _doomed(x: m.RequestDoomed, _: _Scene) -> str:
    many = f"This request broke {counted(x.seen, 'time')} in a row"
    chance = f"accidents would agree like this in at most {percent(x.bound)} of such cases"
    if x.by == "request size" and x.size is not None:
        return f"{many} while smaller ones than its {size(x.size)} went through; {chance}."
    place = f"after {duration(x.age_s)}" if x.age_s is not None else ""
    if x.by == "answer size" and x.size is not None:
        place = f"after {size(x.size)} of answer"
    return f"{many} at the same place, {place or x.by}; {chance}."


def _finished(x: m.AnswerFinished, _: _Scene) -> str:
    about = "about " if x.estimated else ""
    tokens = f" after {about}{counted(x.output_tokens, 'token')}" if x.output_tokens is not None else ""
    reason = f" (stop reason {x.stop_reason})" if x.stop_reason else ""
    return f"The answer was finished{tokens}{reason}."


def _kept(x: m.AnswerKept, _: _Scene) -> str:
    return f"The {'whole' if x.complete else 'unfinished'} answer, {size(x.size)}, was put into the attic."


def _error_said(x: m.ErrorSaid, _: _Scene) -> str:
    where = f"with status {x.status}" if x.status is not None else "inside the stream"
    return f"The client was told an error {where}: {x.kind}."


def _turn_ended(x: m.TurnEnded, scene: _Scene) -> str:
    if x.ending.completed:
        return "The turn was over."
    if _told(x.ending, scene) and any(before.detail == x.ending.detail for before in scene.ended):
        return f"The turn was over, by what is told above ({x.ending.code})."
    return f"The turn was over: {ending_sentence(x.ending, evidence=not _told(x.ending, scene))}."


_TELL: dict[type[Moment], Callable[[Any, _Scene], str]] = {
    m.RequestArrived: _request_arrived,
    m.RequestEdited: _request_edited,
    m.RequestHeld: lambda x, _: f"The request waited: it could be a retry of turn {x.other_turn}.",
    m.AttemptStarted: lambda x, _: f"Attempt {x.attempt} upstream began.",
    m.Connected: _connected,
    m.RequestSent: lambda x, _: f"The request was sent: {size(x.body_bytes)}.",
    m.HeadersArrived: _headers_arrived,
    m.AnswerOpenedEarly: lambda x, _: (
        f"No headers within {duration(x.patience_s)}: the client was given a 200 and keepalives meanwhile."
    ),
    m.FirstEventArrived: _first_event,
    m.BlockOpened: _block_opened,
    m.QuietNoticed: _quiet_noticed,
    m.QuietEnded: _quiet_ended,
    m.ReaderJoined: _reader_joined,
    m.ReaderLeft: _reader_left,
    m.ReaderReset: lambda x, _: (
        f"Connection {x.reader} of the client was reset within {duration(x.after_ms / 1000)} of its close ({x.code})."
    ),
    m.ReaderLagged: lambda x, _: (
        f"The client stopped reading (connection {x.reader}); {size(x.behind_bytes)} waited for it."
    ),
    m.TurnOrphaned: _orphaned,
    m.OrphanExpired: lambda x, _: f"Nobody came back in time: {_EXPIRED.get(x.limit, x.limit)}.",
    m.UpstreamStopped: lambda x, _: f"The gateway told upstream to stop attempt {x.attempt}: {x.why}.",
    m.AttemptEnded: _attempt_ended,
    m.EdgeWitnessed: _witnessed,
    m.AttemptPlanned: _planned,
    m.NotAskedAgain: lambda x, _: f"Upstream was not asked again: {x.why}.",
    m.HedgeStarted: lambda x, _: (
        f"Upstream had said nothing for {duration(x.silent_s)}: it was asked a second time, attempt {x.attempt}."
    ),
    m.EndingDelayed: lambda x, _: (
        f"Its answers had broken before: the end by which the client goes on was put off by {duration(x.in_s)}."
    ),
    m.NetworkGone: lambda x, _: f"Upstream was away ({x.why}): the turn waited for it.",
    m.NetworkBack: lambda x, _: f"Upstream could be reached again after {duration(x.absent_s)}.",
    m.NetworkChanged: lambda x, _: f"This machine's network changed: {x.what}.",
    m.MachineSlept: lambda x, _: f"This machine slept for {duration(x.slept_s)}.",
    m.Healed: _healed,
    m.RequestDoomed: _doomed,
    m.ErrorRepeated: lambda x, _: (
        f"The client asked again, and was given the error as it had come: status {x.status}."
    ),
    m.AnsweredLocally: lambda x, _: f"The gateway answered by itself with status {x.status}: {x.why}.",
    m.AnswerFinished: _finished,
    m.AnswerHeard: lambda x, _: (
        f"The client's side acknowledged the answer's last byte (connection {x.reader})."
    ),
    m.AnswerKept: _kept,
    m.ErrorSaid: _error_said,
    m.TurnEnded: _turn_ended,
}


# ----- one line


def outcome(record: TurnRecord, ending_code: str | None = None, row: Row | None = None) -> str:
    """How it ended, in a word or code, with the status in front where it is not 200.

    `running`, `waiting for its client` (finished and not yet heard), `done`, `cut` (it is in a `row` that never
    became whole), `interrupted`, or the ending's code.
    """
    code = record.ending.code if record.ending else ending_code
    if code is None:
        finished = any(isinstance(moment, m.AnswerFinished) for _, moment in record.moments)
        word = "waiting for its client" if finished else "running"
    elif record.ending is not None and record.ending.completed:
        word = "cut" if row is not None and row.lost else "done"
    elif _killed(record):
        word = f"interrupted {code}"
    else:
        word = clean(code if record.ending is None else final(record.ending))
    return word if record.status in (None, 200) else f"{record.status} {word}"


def took_s(record: TurnRecord, now: Instant | None = None) -> float | None:
    """Seconds from the request to the turn's end; of a turn that goes on, until `now` on the wall clock.

    None where it is not known: of a process that was killed only the last sign of life is on record.
    """
    if _killed(record):
        return None
    if record.ended is not None:
        return record.ended.mono_s - record.started.mono_s
    return (now.wall_ms - record.started.wall_ms) / 1000 if now else None


def length_of(record: TurnRecord) -> str:
    """How long a turn that is over took, or took at least; empty for one that goes on."""
    if record.ended is None:
        return ""
    least = "at least " if _killed(record) else ""
    return least + duration(record.ended.mono_s - record.started.mono_s)


def _killed(record: TurnRecord) -> bool:
    return record.ending is not None and record.ending.mechanism is Mechanism.PROCESS_ENDED


def saved(record: TurnRecord, kept_bytes: int | None = None, row: Row | None = None) -> str:
    """What Holdfast did for this turn, in few words; empty where nothing was needed."""
    lost = row is not None and row.lost
    parts = [f"saved from {clean(record.saved_from)}"] if record.saved_from and not lost else []
    if row is not None and lost:
        parts.append(f"{row.brief(record.turn_id)} ({clean(record.breaks or record.healed or '')})")
    elif record.healed:
        gone_on = (record.ending is None or record.ending.completed) and not (record.breaks or "").endswith(
            "!"
        )
        parts.append(f"{'healed' if gone_on else 'not healed'} ({clean(record.breaks or record.healed)})")
    if (away_s := outage_s(record)) is not None:
        away = f"{duration(away_s)} of outage waited out" if away_s else "upstream is away"
        parts.append(away)
    if record.held:
        parts.append(f"{counted(record.held, 'silence')} bridged")
    if record.spared:
        parts.append(f"{record.spared} not generated again")
    if kept_bytes is not None:
        parts.append(f"{size(kept_bytes)} in the attic")
    if record.wasted_tokens:
        parts.append(f"{record.wasted_tokens:,} tokens unheard")
    if record.kind == "opaque":
        parts.append("carried, not protected")
    elif any(
        isinstance(one, m.HeadersArrived) and one.unread and one.status == 200 for _, one in record.moments
    ):
        parts.append("came encoded, not protected")
    return ", ".join(parts)


def outage_s(record: TurnRecord) -> float | None:
    """How long the turn waited for an upstream that could not be reached and came back.

    0 where it waits now; None where it never had to, or gave up waiting: then its ending says so.
    """
    waited = [moment.absent_s for _, moment in record.moments if isinstance(moment, m.NetworkBack)]
    if record.ended is None and any(isinstance(moment, m.NetworkGone) for _, moment in record.moments[-1:]):
        return 0.0
    return sum(waited) if waited else None


def longest_quiet_s(record: TurnRecord) -> float:
    """The longest silence of upstream; where it never spoke, all the time that was waited for it."""
    if record.ended is None or any(isinstance(one, m.HeadersArrived) for _, one in record.moments):
        return record.longest_quiet_s
    asked = [at.mono_s for at, one in record.moments if isinstance(one, m.RequestSent | m.AttemptStarted)]
    return max(record.longest_quiet_s, record.ended.mono_s - asked[0]) if asked else record.longest_quiet_s


def summary(record: TurnRecord, row: Row | None = None) -> str:
    """The turn in one sentence, for a log or the end of its story."""
    word, length = outcome(record, row=row), length_of(record)
    parts = [
        f"{word} after {length}" if length else word,
        f"{counted(record.attempts, 'attempt')} upstream",
        f"{counted(record.readers, 'client connection')}",
        f"{size(record.answer_bytes)} of answer",
    ]
    if record.keepalives:
        parts.append(
            f"{counted(record.keepalives, 'keepalive')}, longest quiet {duration(longest_quiet_s(record))}"
        )
    extra = saved(record, row=row)
    return ", ".join([*parts, extra] if extra else parts)


def as_json(turn: StoredTurn, row: Row | None = None) -> dict[str, Any]:
    """The turn as plain values, strings as they are stored: JSON escapes what a terminal would obey."""
    record = turn.record
    data: dict[str, Any] = {
        name: getattr(record, name)
        for name in TurnRecord.__struct_fields__
        if name not in ("started", "ended", "ending", "moments")
    }
    data |= {
        "instance_id": turn.instance_id,
        "started_wall_ms": record.started.wall_ms,
        "ended_wall_ms": record.ended.wall_ms if record.ended else None,
        "took_s": took_s(record),
        "ending_code": turn.ending_code,
        "ending": msgspec.to_builtins(record.ending) if record.ending else None,
        "attic_bytes": turn.kept_bytes,
        "cut": None if row is None else {"times": row.cuts, "whole": row.whole, "lost": row.lost},
    }
    return data


def moments_as_json(record: TurnRecord, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Each moment with its two times, name, data and sentence."""
    told = [line for line in lines if line.name != "Slept"]
    return [
        {
            "at_s": round(line.at_s, 6),
            "mono_s": at.mono_s,
            "wall_ms": at.wall_ms,
            "name": line.name,
            "data": moment.data if isinstance(moment, UnknownMoment) else msgspec.to_builtins(moment),
            "sentence": line.text,
        }
        for (at, moment), line in zip(record.moments, told, strict=True)
    ]
