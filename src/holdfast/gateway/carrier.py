"""The carrier of one turn: it asks upstream, fills the stream log, and keeps whoever reads it company.

Everything it decides is decided elsewhere, by values: where the turn stands (`turn`), where the attempt
stands (`attempt`), why a reader went (`leaving`), what is due (`deadlines`), what the stream says
(`dialects`). Here sockets' callbacks become those machines' events, and their answers become actions.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from holdfast.flight import moments as m
from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side, final, shown
from holdfast.flight.instant import Instant
from holdfast.flight.instant import now as instant_now
from holdfast.flight.record import About, TurnRecord
from holdfast.flight.redact import clean
from holdfast.gateway import evidence as ev
from holdfast.gateway import headers as h
from holdfast.gateway import heal, sameness, telling
from holdfast.gateway.about import about
from holdfast.gateway.accounts import bridged
from holdfast.gateway.alarms import Alarm
from holdfast.gateway.asking import Asking, Editor, Question
from holdfast.gateway.deadlines import LINGER_S, Clocks, Due, Patience, due
from holdfast.gateway.defects import defect
from holdfast.gateway.dialects import anthropic
from holdfast.gateway.dialects.anthropic import BlockStarted, EventReader, MessageStarted
from holdfast.gateway.fields import Fields, Headers, Lines, parsed
from holdfast.gateway.healing import Healing
from holdfast.gateway.hedging import Hedge
from holdfast.gateway.hold import HoldBack
from holdfast.gateway.leaving import Verdict, judge
from holdfast.gateway.listener import Facts
from holdfast.gateway.orphans import OldReader
from holdfast.gateway.profiles import Limit
from holdfast.gateway.readers import Reader
from holdfast.gateway.sse import NOTHING, EventSplitter
from holdfast.gateway.streamlog import SpoolError, StreamLog
from holdfast.gateway.turn import UNFOLLOWED, Act, Event, State, Turn
from holdfast.gateway.witness import called_for

if TYPE_CHECKING:
    from holdfast.gateway.arrival import Arrival
    from holdfast.gateway.engine import Engine

log = logging.getLogger("holdfast.gateway")

_LEFT: Final = {
    Verdict.GAVE_UP: Event.READER_GAVE_UP,
    Verdict.LOST: Event.READER_LOST,
    Verdict.MOVED_ON: Event.MOVED_ON,
    Verdict.CANCELLED: Event.READER_CANCELLED,
}
# What happens in every turn: before Python 3.12 looking a member up in its class takes as long as a short function.
_FINISHED, _HEARD, _END = Event.ANSWER_FINISHED, Event.HEARD, Act.END
_NO_LINES: Final = Lines((), b"")
_NO_HEAD: Final = (200, b"", _NO_LINES)
"Of a stream that no upstream has begun."
_ERROR_BODY_BYTES: Final = 1024 * 1024
_CHARACTERS_PER_TOKEN: Final = 4
"Of English text and code; an estimate, no count."
_WHOLE_BYTES: Final = 1024 * 1024
"An answer without streaming is looked into up to this size; decoding it holds the loop for about a millisecond."


class Carrier:
    """One turn while it lives: its request, its attempt, its stream log, and at most one reader."""

    __slots__ = (
        "_alarm",
        "_aside",
        "_error_said",
        "_failing",
        "_head",
        "_hold",
        "_left",
        "_over_at",
        "_quiet_keepalives",
        "_quiet_since",
        "_stream_head",
        "_suspected",
        "_told_until",
        "_whole_json",
        "attempt",
        "body",
        "body_complete",
        "ending",
        "engine",
        "events",
        "falls_back",
        "head_key",
        "healing",
        "heard_by",
        "hedge",
        "kept",
        "length",
        "log",
        "question",
        "reader",
        "record",
        "saved_from",
        "status",
        "status_reason",
        "streaming_known",
        "streams",
        "turn",
        "waiting",
    )

    def __init__(
        self,
        engine: Engine,
        record: TurnRecord,
        head_key: sameness.HeadKey,
        question: Question,
        body: StreamLog,
        *,
        complete: bool,
    ) -> None:
        self.engine = engine
        self.record = record
        self.head_key = head_key
        self.question = question
        self.body = body
        "The request's body as the client sent it; kept while the turn lives, to know its retry by."
        self.body_complete = complete
        self.streaming_known: bool | None = None
        self.log = StreamLog(engine.budget, engine.settings.limits.memory_bytes, engine.spool_dir)
        self.turn = Turn(engine.settings.timeouts)
        self.attempt = Asking(self, 1)
        self.events = EventReader()
        self.reader: Reader | None = None
        self.status: int | None = None
        self.status_reason = b""
        self._head = _NO_LINES
        "Upstream's response headers as the client gets them."
        self.length: int | None = None
        self._stream_head: tuple[int, bytes, Lines] | None = _NO_HEAD
        "Status, reason and headers that the stream in the log came with; None where they are the present ones."
        self.streams = False
        "Whether the log holds an event stream, or is going to: a broken attempt's, even where the present one's is none."
        self.ending: Ending | None = None
        self.heard_by: Reader | None = None
        self.falls_back = False
        "Whether the client that asked was measured to ask the same again without streaming."
        self.kept = False
        self.saved_from: str | None = None
        "A break that this turn has survived and its client alone would not have."
        self.waiting: tuple[Arrival, ...] = ()
        "Requests that wait to see whether the present reader is gone."
        self._suspected = False
        "Whether upstream seems to refuse an edit of ours."
        self._left: Ending | None = None
        "How the last reader went."
        self._failing: tuple[Ending, str] | None = None
        "How the answer failed, while a slow reader still reads what there is of it."
        self._whole_json = False
        "Whether the answer is one JSON document that can be read at its end."
        self._aside: bytearray | None = None
        "The body of a response that is no stream, where the client was promised one."
        self._error_said = b""
        "The provider's error event and what followed it: told when nothing else can be done."
        self._over_at: float | None = None
        "When the answer's last event came, or its error; pings that follow prolong nothing."
        self.healing: Healing | None = None
        self.hedge: Hedge | None = None
        "A second attempt that runs beside the first."
        self._restart_hold()
        self._alarm: Alarm | None = None
        self._quiet_since: float | None = None
        self._quiet_keepalives = 0

    def __repr__(self) -> str:
        return f"<Carrier {self.record.turn_id} {self.turn!r} {self.attempt!r} {self.reader!r}>"

    def now(self) -> float:
        """Monotonic seconds: the loop's clock."""
        return self.engine.loop.time()

    def note(self, moment: m.Moment, at: Instant | None = None) -> None:
        """Write a moment into the flight."""
        record = self.record
        record.moments.append((at or instant_now(), moment))
        self.engine.recorder.changed(record)

    # -- asking upstream ----------------------------------------------------------------------------

    def ask(self, whole: bytes | None = None) -> None:
        """Send the request upstream; `whole` is the client's body, where it is at hand. Raises `SpoolError`."""
        attempt, question = self.attempt, self.question
        attempt.outgoing = question.edited(self.body, whole)
        if attempt.number == 1:
            self.engine.ledger.asked(self.now())
            if question.tools:
                self.note(m.RequestEdited("unbuffer", f"{question.tools} tools"))
            if question.as_stream:
                self.note(m.RequestEdited("fetch as stream"))
        if question.strips:
            self.note(m.RequestEdited("strip images", f"{question.images} images of earlier turns"))
        self.record.attempts += 1
        self.note(m.AttemptStarted(attempt.number))
        attempt.start()

    def ask_again(
        self, editor: Editor | None = None, *, avoid: tuple[str, ...] = (), http1: bool = False
    ) -> None:
        """Begin another attempt at the same question, or what became of it, on a fresh connection.

        `editor` fits its events to the log; addresses to `avoid` are tried last, HTTP/2 not at all with `http1`.
        """
        self.attempt = Asking(self, self.record.attempts + 1, editor)
        self.attempt.fresh, self.attempt.avoid, self.attempt.http1 = True, avoid, http1
        self.ask()

    def request_arrived(self, data: bytes) -> None:
        """More of the client's body, of a request that goes upstream while it is read."""
        if not self.turn.open:
            return
        if self.body.size + len(data) > self.engine.settings.limits.body_bytes:
            self._request_too_large()
            return
        try:
            self.body.append(data)
        except SpoolError as error:
            self.machine_failed(error)
            return
        self.attempt.send(data)

    def request_ended(self) -> None:
        """The client's body is complete."""
        if not self.turn.open:
            return
        self.body_complete = True
        self.attempt.finish_asking()
        if self.healing is not None:
            self.healing.go_on()

    def request_sent(self, attempt: Asking) -> None:
        """All of the request is with upstream's connection."""
        self.record.request_bytes = self.body.size
        self.note(m.RequestSent(attempt.number, self.body.size))
        reader = self.reader
        if reader is None:
            self.look()
        else:
            # Whatever is due first is not due before the shortest patience has passed since the client asked.
            timeouts, hedge_s = self.engine.settings.timeouts, self.engine.settings.hedge_s
            least_s = min(
                reader.patience_s, reader.timers.keepalive_s, timeouts.quiet_s, hedge_s or timeouts.quiet_s
            )
            self._look_at(reader.asked_at + least_s)

    def path_changed(self, moment: m.Moment, *, probe: bool) -> None:
        """The network is another, or the machine slept: a dead path is to be noticed in seconds.

        Not while there is no network at all (`probe` is false): then silence proves nothing.
        """
        if self.attempt.ending is None:
            self.note(moment)
            if self.attempt.connection is not None and probe:
                self.attempt.connection.probe_soon()

    def request_paused(self) -> None:
        """Upstream takes no more of the body for now."""
        if self.reader is not None and not self.body_complete:
            self.reader.exchange.pause_body()

    def request_resumed(self) -> None:
        """Upstream takes more."""
        if self.reader is not None and not self.body_complete:
            self.reader.exchange.resume_body()

    @property
    def streaming(self) -> bool | None:
        """Whether the client asked for a stream; None while its body is still arriving. Looked up when needed."""
        if self.streaming_known is None and self.body_complete and self.body.size:
            with suppress(SpoolError):  # then it is not known
                self.streaming_known = sameness.is_streaming(self.body.whole())
        return self.streaming_known

    # -- the answer ---------------------------------------------------------------------------------

    def headers_arrived(self, attempt: Asking, status: int, reason: bytes, headers: Headers) -> None:
        """Upstream's status and headers arrived."""
        if attempt is not self.attempt:
            if self.hedge is not None:
                self.hedge.headers_arrived(status, reason, headers)
            return
        now = self.now()
        told = Fields(headers)
        found = told.first
        content_type = h.text(found, b"content-type") or ""
        encoding = found.get(b"content-encoding")
        encoded = encoding is not None and encoding.lower() not in (b"", b"identity")
        events = status < 300 and content_type.startswith("text/event-stream") and not encoded
        if self.hedge is not None and not events:
            if status >= 400:
                self.hedge.refused(status)
                return
            self.hedge.spoke(attempt)  # its head is told at once, and promises this very body
        self._account_silence(now)
        self._end_quiet(now)
        attempt.headers(status, streaming=events, now=now)
        self.engine.ledger.answered(now, status)
        if not self.log.size:
            self.streams = events
            self._stream_head = None
        else:
            self._keep_stream_head()
        self.status, self.status_reason = status, reason
        self._head = h.to_client(told)
        self.length = None if events else h.content_length(found)
        if events:
            attempt.splitter = EventSplitter()
        self._whole_json = status == 200 and content_type.startswith("application/json") and not encoded
        self.record.status = self.record.status or status
        self.record.request_id = h.text(found, b"request-id") or h.text(found, b"x-request-id")
        self.record.edge_id = h.text(found, b"cf-ray")
        detail = content_type + m.STILL_ENCODED if encoded else content_type
        self.note(
            m.HeadersArrived(attempt.number, status, self.record.request_id, detail, self.record.edge_id)
        )
        self._suspected = status == 400 and bool(self.question.tools)
        reader = self.reader
        if encoded and reader is not None and reader.fold and content_type.startswith("text/event-stream"):
            attempt.close()
            detail = "a whole message was asked for as a stream, and came encoded: it cannot be put together"
            self._upstream_ended(
                attempt.ended(Ending(Side.PROVIDER, Mechanism.MALFORMED, Phase.IN_BODY, detail))
            )
            return
        promised = self.streams or (reader is not None and reader.promised_events)
        if reader is not None and reader.begun_with_white_space and not self._whole_json:
            promised, events = True, events and reader.fold
        self._aside = bytearray() if promised and not events else None
        if status >= 400:
            attempt.take_advice(found)
        if self.reader is not None and not self._suspected:
            self._open(self.reader, now)
        # A silence before the headers may have left an alarm far away; from now on keepalives are due.
        keepalive_s = (
            self.engine.settings.timeouts.keepalive_s if reader is None else reader.timers.keepalive_s
        )
        self._look_at(now + keepalive_s)

    def _keep_stream_head(self) -> None:
        """The head that the stream in the log came with is about to be followed by another."""
        if self._stream_head is None and self.status is not None:
            self._stream_head = (self.status, self.status_reason, self._head)

    def _open(self, reader: Reader, now: float) -> None:
        """Give a reader upstream's status and headers; one that wants the whole message waits for it."""
        assert self.status is not None
        reader.fold = reader.fold and self.streams
        if not reader.fold and not reader.opened:
            reader.open(self.status, self.status_reason, self.client_headers, self.length, now)
            reader.opened_early = self.attempt.headers_at is None  # they are a broken attempt's

    def answer_arrived(self, attempt: Asking, data: bytes) -> None:
        """Upstream sent a piece of the answer. The hottest path: no JSON, one log append, one write."""
        if self.hedge is not None:
            self.hedge.spoke(attempt)
            if not self.turn.open:
                return
        now = self.engine.loop.time()
        record = self.record
        gap = now - (attempt.heard_at or now)
        attempt.heard_at = now
        if gap > record.longest_quiet_s:
            record.longest_quiet_s = gap
        if self._quiet_since is not None:
            self._end_quiet(now)
        record.answer_bytes += len(data)
        splitter = attempt.splitter
        notable = NOTHING
        if splitter is not None:
            data = splitter.feed(data)
            if attempt.editor is not None:
                data, splitter.notable = attempt.editor.edit(data, splitter.notable)
            if splitter.notable:
                notable, splitter.notable = splitter.notable, NOTHING
                self._look_into(notable)
            if self.events.error is not None:
                data = self._set_error_aside(data, notable)
            if not data:
                return
        elif self._aside is not None:
            self._aside += data[: _ERROR_BODY_BYTES - len(self._aside)]
            return
        try:
            self.log.append(data)
        except SpoolError as error:
            if not self.events.finished:
                self.machine_failed(error)
                return
            log.warning("the end of an answer stays in memory: %s", error)
        if self._hold is not None:
            self._told_until = self._hold.feed(data, notable)
        reader = self.reader
        if reader is not None:
            if self._hold is not None:
                reader.pump(now)
            elif reader.opened and (not reader.opened_early or splitter is not None):
                reader.wake(data, now)
        elif self.log.size > self.engine.settings.limits.orphan_bytes:
            self._handle(Event.OUTGROWN, "size")
        if self.log.size > self.engine.settings.limits.answer_bytes:
            self.machine_failed(SpoolError(0, "the answer is larger than this gateway keeps"))
        elif notable and self.events.finished and not self.turn.answered:
            self._answered()

    def _look_into(self, notable: list[bytes]) -> None:
        events, at = self.events, instant_now()
        for event in notable:
            seen = events.seen(event)
            if type(seen) is MessageStarted:
                self.record.model, self.record.input_tokens = events.model, events.input_tokens
                self.note(m.FirstEventArrived(self.attempt.number, events.model, events.input_tokens), at)
            elif type(seen) is BlockStarted:
                self.note(m.BlockOpened(seen.index, seen.kind, seen.tool), at)

    def _look_into_whole(self) -> None:
        """An answer without streaming says at its end what a stream says on the way."""
        if not self._whole_json or self.log.size > _WHOLE_BYTES:
            return
        with suppress(SpoolError):
            if self.events.whole(self.log.whole()):
                self.record.model, self.record.input_tokens = self.events.model, self.events.input_tokens

    def _answered(self) -> None:
        record, events = self.record, self.events
        self._look_into_whole()
        record.stop_reason, record.output_tokens = events.stop_reason, events.output_tokens
        estimated = record.healed is not None and not heal.keeps_counts(record.healed)
        self.note(m.AnswerFinished(events.stop_reason, events.output_tokens, estimated))
        self._handle(_FINISHED)
        self._over_at = self.now()
        connection = self.attempt.connection
        if connection is not None and not connection.response_read:
            self._look_at(self._over_at + LINGER_S)

    def _set_error_aside(self, data: bytes, notable: list[bytes]) -> bytes:
        """What stands before the provider's error event. The rest is told when nothing else can be done."""
        at = 0
        if not self._error_said:
            error = next(event for event in notable if anthropic.is_error(event))
            at = data.index(error)
            self._over_at = self.now()
            self._look_at(self.now() + LINGER_S)
        self._error_said += data[at : at + _ERROR_BODY_BYTES - len(self._error_said)]
        return data[:at]

    @property
    def tellable(self) -> int:
        """How much of the stream log may be told: all of it, but for a block that is held back until it is whole."""
        return self.log.size if self._hold is None else self._told_until

    def told_bytes(self) -> bytes:
        """What a reader of the answer may have heard of it. Raises `SpoolError`."""
        return self.log.whole()[: self.tellable]

    @property
    def client_headers(self) -> bytes:
        """Upstream's response headers as the client gets them, rendered; none before they came."""
        return b"" if self._head is _NO_LINES else self._head.rendered() + h.of_turn(self.record.turn_id)

    @property
    def encoded(self) -> bool:
        """Whether the answer comes compressed although that was not asked for: nobody can read it but its client."""
        return (
            self.attempt.status == 200
            and not self.streams
            and not self._whole_json
            and b"content-encoding:" in self.client_headers.lower()
        )

    @property
    def between_events(self) -> bool:
        """Whether a keepalive may be put behind what the log holds."""
        return self.splits_between_events and not self.events.finished

    @property
    def splits_between_events(self) -> bool:
        """Whether the log ends with a whole event: always, but for an event too long to be held."""
        splitter = self.attempt.splitter
        return splitter is None or splitter.between_events

    def answer_over(self, attempt: Asking) -> None:
        """HTTP says that the response is complete."""
        if attempt is not self.attempt:
            if self.hedge is not None:
                self.hedge.lost(Ending(Side.PROVIDER, Mechanism.TRUNCATED, Phase.AWAITING_FIRST_EVENT))
            return
        if self._suspected and self._refuses_our_edit():
            return
        splitter = attempt.splitter
        if splitter is not None and splitter.held_bytes:
            if splitter.ends_with_data():
                self.answer_arrived(attempt, b"")
            if self.events.finished:
                self.append(splitter.rest())
        ending = attempt.answer_ended(
            finished=self.events.finished, failed=self.events.error is not None, phase=self.events.phase
        )
        self._upstream_ended(ending)

    def _refuses_our_edit(self) -> bool:
        """Whether upstream's 400 is about a field that we added; then the turn is asked again without it."""
        self._suspected = False
        if self.turn.state is State.CANCELLING:
            return False
        if (self.streams and self.log.size) or b"eager_input_streaming" not in self.error_body:
            if self.reader is not None:
                self._open(self.reader, self.now())
            return False
        ending = self.attempt.answer_ended(finished=False, failed=False, phase=self.events.phase)
        ending = self.with_evidence(self.attempt, ending)
        self.note(m.AttemptEnded(self.attempt.number, ending))
        self.record.status = None
        self.forget_answer()
        self.engine.unbuffers = False  # for all later turns too
        self.question.eager, self.question.tools = False, 0
        self.note(m.RequestEdited("unbuffer undone", "upstream refused eager_input_streaming"))
        self.ask_again()
        return True

    def attempt_over(self, attempt: Asking, ending: Ending, advice: str) -> None:
        """There is no connection any more, or there never was one."""
        if attempt is not self.attempt:
            if self.hedge is not None:
                self.hedge.lost(ending)
            return
        ending = attempt.broke(
            ending,
            finished=self.events.finished,
            failed=self.events.error is not None,
            phase=self.events.phase,
        )
        self._upstream_ended(ending, advice)

    def append(self, data: bytes) -> None:
        """Put something behind the answer so far: what upstream left unfinished, or words of ours."""
        if data:
            self.log.append(data)
            if self._hold is not None:
                self._told_until = self._hold.feed(data, [])
            if self.reader is not None:
                self.reader.pump(self.now())

    def _upstream_ended(self, ending: Ending, advice: str = "") -> None:
        now = self.now()
        self._end_quiet(now)
        ending = self.with_evidence(self.attempt, ending)
        self.note(m.AttemptEnded(self.attempt.number, ending))
        self._call_witness(self.attempt, ending)
        self._count_attempt()
        reader = self.reader
        if ending.completed and self._aside is not None:
            # The client was promised a stream: what came instead can only be told as an error.
            said = clean(self._aside[:300].decode("utf-8", "replace"))
            detail = f"upstream answered without a stream: {said}"
            ending = Ending(Side.PROVIDER, Mechanism.MALFORMED, Phase.IN_BODY, detail)
        if ending.completed:
            if not self.turn.answered:
                self._answered()
            if reader is not None:
                reader.finish()
        elif not self._heals(ending, advice):
            self._failed(ending, advice)

    def with_evidence(self, attempt: Asking, ending: Ending) -> Ending:
        """The ending of an attempt with what is known beside it; call it while its connection can still be asked."""
        if ending.completed:
            return ending
        now = self.now()
        told = ending.evidence if "tcp_state" in ending.evidence else {**attempt.seen(), **ending.evidence}
        theirs = attempt.headers_at is not None and attempt is self.attempt
        headers = parsed(self.client_headers) if theirs else []
        asked_at = attempt.sent_at if attempt.sent_at is not None else attempt.started_at
        splitter = attempt.splitter
        facts: Facts = {
            **told,
            "since_request_s": round(now - asked_at, 3),
            "since_headers_s": None if attempt.headers_at is None else round(now - attempt.headers_at, 3),
            "answer_bytes": attempt.answer_bytes,
            "answer_events": 0 if splitter is None else splitter.events,
            **self._turn_facts(ending.phase),
            **ev.of_headers(headers),
            **self.engine.whereabouts.facts(attempt.local_address, now),
        }
        facts.setdefault("status", attempt.status)
        ending = replace(ending, evidence=facts)
        silence = facts.get("silence_s")
        if isinstance(silence, float):
            ending = ev.after_a_sleep(ending, self.engine.slept_since(now - silence - ev.COARSE_S))
        attempt.ending = ending
        return ending

    def _call_witness(self, attempt: Asking, ending: Ending) -> None:
        """Where nobody's name is on what ended, ask who is there; the turn may be over when that is answered."""
        witness = self.engine.witness
        if witness is not None and called_for(ending, headers_came=attempt.headers_at is not None):
            witness.call(attempt.number, self.note)

    def _turn_facts(self, phase: Phase) -> Facts:
        """What is known of the turn where something of it ends early."""
        record, events = self.record, self.events
        model = None
        with suppress(SpoolError):
            size = self.body.size
            tail = self.body.read(size - ev.LOOKED_AT, ev.LOOKED_AT) if size > ev.LOOKED_AT else b""
            model = ev.asked_model(self.body.read(0, ev.LOOKED_AT), tail)
        model = model or record.model
        session_turns, open_turns = self.engine.turns_beside(record)
        return {
            "request_bytes": self.body.size,
            "blocks": events.completed_blocks,
            "tool": events.tool if phase is Phase.IN_TOOL_USE else None,
            "input_tokens": events.input_tokens,
            "output_tokens": events.output_tokens,
            "model": model,
            "context": ev.context_tier(model, self.head_key.betas),
            "profile": record.profile or None,
            "session": record.session,
            "agent": record.subagent,
            "session_turns": session_turns,
            "open_turns": open_turns,
        }

    def _count_attempt(self) -> None:
        """Add the attempt's events to the turn's, once."""
        splitter = self.attempt.splitter
        if splitter is not None:
            self.record.events += splitter.events
            splitter.events = 0

    # -- healing ------------------------------------------------------------------------------------

    def _heals(self, ending: Ending, advice: str) -> bool:
        """Whether something can be done about a break, other than telling it."""
        if self.hedge is not None:
            self.hedge.take_over()
            return True
        if self.turn.state is not State.FOLLOWED:
            return False
        try:
            if self.healing is None:
                self.healing = Healing(self)
            return self.healing.broke(ending, advice)
        except SpoolError as error:
            log.warning("a broken answer cannot be looked at: %s", error)
            return False
        except Exception as error:  # a defect of ours; the client hears that its answer broke
            log.error("a broken answer cannot be healed: %s", defect(error))
            return False

    def not_healed(self, ending: Ending, advice: str) -> None:
        """What was planned could not be done."""
        if self.turn.open:
            self._failed(ending, advice)

    def take_over(self, attempt: Asking, head: tuple[int, bytes, Headers] | None) -> None:
        """From now on the answer is this attempt's, of which so much is known."""
        self.hedge = None
        self.forget_answer()
        self.attempt = attempt
        if head is not None:
            self.headers_arrived(attempt, *head)
        self.look()

    def forget_answer(self) -> None:
        """Nobody has heard anything of the answer so far: begin a new one."""
        self.log.close()
        self.events = EventReader()
        self._keep_stream_head()
        self.status, self.streams = None, False
        self._restart_hold()
        if self.reader is not None:
            self.reader.offset = 0
        self._forget_attempt()

    def keep_told(self) -> None:
        """Of the answer so far only what may have been heard stays: nothing of a block that was held back."""
        self.log.cut(self.tellable)
        if self._stream_head is not None:
            self.status, self.status_reason, self._head = self._stream_head
        self.events = EventReader()
        self._hear(self.log.whole())
        self._restart_hold()
        self._forget_attempt()

    def _restart_hold(self) -> None:
        kinds = self.engine.settings.hold
        self._hold = HoldBack(kinds, self.log.size) if kinds else None
        self._told_until = self.log.size

    def _forget_attempt(self) -> None:
        self._error_said, self._aside, self.length = b"", None, None
        if self.reader is not None:
            self.reader.opened_early = self.reader.opened

    def healed(self, how: str, code: str) -> None:
        """Count a break that this turn went on from; `code` is the break's ending's."""
        healed = self.record.healed
        self.record.healed = how if healed is None else f"{healed}, {how}"
        self._count_break(shown(code, how))

    def _count_break(self, told: str) -> None:
        breaks = self.record.breaks
        self.record.breaks = told if breaks is None else f"{breaks}, {told}"

    def end_with(self, events: bytes) -> None:
        """Give the answer an end of ours; `events` are what is missing."""
        self.append(events)
        self._hear(events)
        self._answered()
        if self.reader is not None:
            self.reader.finish()

    def _hear(self, data: bytes) -> None:
        """Take what the log holds for heard, without telling anybody."""
        splitter = EventSplitter()
        splitter.feed(data)
        for event in splitter.notable:
            self.events.seen(event)

    def estimated_tokens(self) -> int:
        """Output tokens of what there is of the answer: what the provider said last, or an estimate by its words."""
        folded = anthropic.fold_partial(self.log.whole())
        words = [str(value) for block in folded.message.get("content", []) for value in block.values()]
        words += [block.partial for block in folded.unfinished]
        return max(self.events.output_tokens or 0, sum(map(len, words)) // _CHARACTERS_PER_TOKEN)

    def _failed(self, ending: Ending, advice: str = "") -> None:
        """There is nothing more to come, and what there is, is not the whole."""
        reader = self.reader
        if reader is not None and reader.promised_events:
            reader.pump(self.now())
            if not reader.at_end():
                self._failing = (ending, advice)  # it reads slowly: first what there is, then the error
                return
        self.ending = ending
        self.record.output_tokens = self.events.output_tokens
        if ending.mechanism is Mechanism.HTTP_ERROR:
            self.engine.remember_failure(self, reader)
            if reader is not None:
                self._pass_on_http_error(reader)
        elif reader is not None:
            self._say_error(reader, ending, advice)
        self._handle(Event.ANSWER_FAILED)

    def _finish_failing(self) -> None:
        """The slow reader has all there is, or is gone."""
        assert self._failing is not None
        (ending, advice), self._failing = self._failing, None
        self._failed(ending, advice)

    def _pass_on_http_error(self, reader: Reader) -> None:
        """Upstream's own error: as it came where that is still possible, otherwise inside the stream."""
        assert self.status is not None
        if reader.opened_early:
            told = self._aside is not None and reader.speaks_events
            telling.say_status(self, reader, self.status, self.error_body if told else None)
        elif not reader.opened and self._aside is not None:
            reader.give(self.status, self.client_headers, bytes(self._aside))
        else:
            self._open(reader, self.now())
            reader.finish()

    @property
    def error_body(self) -> bytes:
        """The body of upstream's error, as it came."""
        return bytes(self._aside) if self._aside is not None else self.log.read(0, _ERROR_BODY_BYTES)

    def _say_error(self, reader: Reader, ending: Ending, advice: str) -> None:
        """The honest error."""
        doomed = None if self.healing is None else self.healing.answer
        if doomed is not None:
            telling.say_doomed(self, reader, doomed)
        elif ending.mechanism is Mechanism.STREAM_ERROR and reader.opened and not reader.fold:
            held_back = self.tellable < self.log.size
            reader.finish_with(self._error_said)  # the provider's own words; what is held back stays untold
            if not held_back:
                self.log.append(self._error_said)
        else:
            telling.say_ending(self, reader, ending, advice)

    def cannot_fold(self, reader: Reader, why: str) -> None:
        """The stream ended well and still holds no whole message."""
        ending = Ending(Side.PROVIDER, Mechanism.TRUNCATED, self.events.phase, why)
        self.ending = ending
        self._say_error(reader, ending, "")
        self._keep()
        self._handle(Event.MOVED_ON)

    def _request_too_large(self) -> None:
        limit = self.engine.settings.limits.body_bytes
        why = f"the request exceeds {limit} bytes"
        self.ending = self.attempt.stopped(why, phase=Phase.SENDING, mechanism=Mechanism.DEADLINE)
        self.note(m.AttemptEnded(self.attempt.number, self.ending))
        if self.reader is not None:
            telling.say(self, self.reader, 413, "request_too_large", why)
        self._handle(Event.MOVED_ON)

    def spool_failed(self, error: SpoolError) -> None:
        """What was written cannot be read again; whoever follows gets no more."""
        reader = self.reader
        if reader is not None and reader.opened:
            reader.abort()
            self._let_go(reader)
        self.machine_failed(error)
        self._handle(Event.MOVED_ON)  # a finished answer has nothing left to give either

    def machine_failed(self, error: SpoolError) -> None:
        """The disk does not take or give what it must."""
        ending = Ending(
            Side.MACHINE, Mechanism.LOCAL_ERROR, self.attempt.phase(self.events.phase), str(error)
        )
        self._stop_upstream("the spool failed", ending)
        self._failed(ending, "make room on the disk that holds the state directory")

    # -- readers ------------------------------------------------------------------------------------

    def follow(self, reader: Reader) -> None:
        """Let this client connection follow the answer, from its first byte on; a former one is let go."""
        now = self.now()
        former, self.reader = self.reader, reader
        self.falls_back = reader.profile.fallback
        if former is not None and not former.gone:
            self._note_left(former, "superseded", None, Mechanism.SUPERSEDED, {})
            self.record.keepalives += former.keepalives
            former.abort()
        self.record.readers += 1
        self.note(m.ReaderJoined(reader.number, reader.how, self.log.size, *reader.exchange.ports()))
        for act in self.turn.handle(Event.READER_JOINED, now) if reader.number > 1 else ():
            self._do(act)
        if self._failing is not None:
            (ending, advice), self._failing = self._failing, None  # of which this reader has heard nothing
            if not self._heals(ending, advice):
                self._failing = (ending, advice)
        if self.healing is not None:
            self.healing.reader_joined()
        if self.status is not None and not self._suspected and self._aside is None:
            self._open(reader, now)
            reader.pump(now)
        if self._failing is not None and (reader.fold or reader.at_end()):
            self._finish_failing()
        if self.turn.answered and self.attempt.ending is not None:
            reader.finish()
        elif self.healing is not None:
            self.healing.go_on()
        self.attempt.reader_joined()
        if self.body_complete:
            self.look()

    def reader_gone(self, reader: Reader, mechanism: Mechanism, facts: Facts) -> None:
        """A client connection ended before the answer's end did."""
        if reader is not self.reader:
            return
        now = self.now()
        self._account_silence(now)
        if self.turn.answered and reader.opened and reader.at_end() and not facts.get("unacked_bytes"):
            self.reader_heard(
                reader
            )  # it has the answer's last event, and did not wait for the end of HTTP's
            return
        departure = reader.departure(
            mechanism, facts, streaming=self.streaming, now=now, process_gone=self.engine.process_gone
        )
        tolerance = self.engine.settings.timeouts.limit_tolerance_s
        judgement = judge(departure, reader.timers.limits, tolerance)
        facts |= {
            "since_request_s": round(departure.since_request_s, 3),
            "since_byte_s": round(departure.since_byte_s, 3),
            "since_event_s": round(departure.since_event_s, 3),
        }
        limit = judgement.limit
        if limit is not None and limit.clock != "told" and self.attempt.headers_at is not None:
            loss = reader.profile.loss_at_silence(reader.timers.limits, self.events.completed_blocks)
            if loss is not None:
                self.saved_from = f"silence past its {limit.name} limit of {limit.seconds:.0f} s"
        self._let_go(reader)
        self._note_left(reader, judgement.verdict.value, limit, mechanism, facts)
        if self._failing is not None:
            self._finish_failing()
        else:
            # Where no whole request was made, nothing can come back for it.
            event = _LEFT[judgement.verdict] if self.body_complete else Event.MOVED_ON
            self._handle(event, "moved on")
        self.engine.reader_left(self)

    def reader_left_unheard(self, reader: Reader, mechanism: Mechanism, unacknowledged: int) -> None:
        """The connection closed while the answer's last bytes were still unacknowledged."""
        if reader is not self.reader:
            return
        self._let_go(reader)
        self._note_left(reader, "lost", None, mechanism, {"unacked_bytes": unacknowledged})
        self._handle(Event.READER_LOST)
        self.engine.reader_left(self)

    def reader_heard(self, reader: Reader) -> None:
        """The peer acknowledged the last byte."""
        if reader is not self.reader:
            return
        self.heard_by = reader
        self.note(m.AnswerHeard(reader.number))
        self._handle(_HEARD)

    def reader_resumed(self, reader: Reader) -> None:
        """The client reads again."""
        reader.lagging = False
        if reader is not self.reader:
            return
        if self.turn.answered and self.attempt.ending is not None:
            reader.finish()
            return
        reader.pump(self.now())
        if self._failing is not None and reader.at_end():
            self._finish_failing()
        else:
            self.look()

    def reader_lags(self, reader: Reader) -> None:
        """The client stopped reading."""
        self.note(m.ReaderLagged(reader.number, self.log.size - reader.offset))

    @property
    def unfollowed(self) -> bool:
        """Whether nobody follows it, or nobody whose connection is still open. Asks no kernel."""
        return self.reader is None or self.reader.gone or self.reader.exchange.gone

    def old_reader(self) -> OldReader:
        """What is known of the connection that follows this turn."""
        return OldReader.GONE if self.reader is None else self.reader.life()

    def moved_on(self) -> None:
        """The client asked something else in this turn's place, or is gone for good."""
        if self.reader is not None:
            return
        self._handle(Event.MOVED_ON, "moved on")

    def outgrown(self, why: str) -> None:
        """An orphan that exceeds what is kept of orphans."""
        self._handle(Event.OUTGROWN, why)

    def stop(self, why: str, *, say: str) -> None:
        """End it now: the gateway is closing, or the command it was started for has ended."""
        reader = self.reader
        self._stop_upstream(why)
        if reader is not None and not reader.gone and not reader.exchange.ended:
            self._let_go(reader)
            if reader.opened and (self.turn.answered or not reader.at_end()):
                reader.abort()  # it is owed bytes that it will not get
            else:
                telling.say(self, reader, 503, "api_error", say)
        # What is unheard was kept when it became so; what was cancelled is nobody's.
        if not self.engine.process_gone and self.turn.state not in (State.CANCELLING, State.UNHEARD):
            self._keep()
        if not self.turn.answered and self.attempt.ending is not None:  # it was waiting for the next one
            phase = self.attempt.phase(self.events.phase)
            self.ending = self.ending or Ending(Side.GATEWAY, Mechanism.CANCELLED, phase, why)
        self._handle(Event.MOVED_ON, why)

    def _let_go(self, reader: Reader) -> None:
        self.reader = None
        self.record.keepalives += reader.keepalives

    def _note_left(
        self, reader: Reader, verdict: str, limit: Limit | None, mechanism: Mechanism, facts: Facts
    ) -> None:
        side = Side.GATEWAY if mechanism is Mechanism.SUPERSEDED else Side.CLIENT
        if mechanism in (Mechanism.KEEPALIVE_UNANSWERED, Mechanism.UNACKNOWLEDGED, Mechanism.UNREACHABLE):
            side = Side.PATH
        elif mechanism is Mechanism.ABORTED:
            side = Side.MACHINE
        phase = Phase.AFTER_END if self.turn.answered else self.attempt.phase(self.events.phase)
        name, seconds = (None, None) if limit is None else (limit.name, limit.seconds)
        evidence: Facts = dict(facts)
        now, silent = self.now(), self.attempt.silent_since
        evidence |= {
            "silence_s": None if silent is None else round(now - silent, 3),
            "answer_bytes": self.record.answer_bytes,
            **self._turn_facts(phase),
            **self.engine.whereabouts.facts(reader.exchange.local_address(), now),
        }
        ending = Ending(side, mechanism, phase, "", evidence)
        if mechanism.rule is Mechanism.KEEPALIVE_UNANSWERED:
            waited = evidence.get("since_byte_s")
            last = now - (waited if isinstance(waited, float) else 0.0)
            ending = ev.after_a_sleep(ending, self.engine.slept_since(last - ev.COARSE_S))
        self._left = replace(ending, evidence={})
        self.note(m.ReaderLeft(reader.number, verdict, name, seconds, ending))

    def reader_reset(self, reader: Reader, after_ms: float) -> None:
        """The connection of a reader that had left by closing in order was reset right after."""
        left, code = self._left, f"{Side.CLIENT.value}.{Mechanism.FIN_THEN_RST.value}"
        if left is not None and left.mechanism is Mechanism.FIN and self.reader is None:
            self._left = left = replace(left, mechanism=Mechanism.FIN_THEN_RST)
            code = left.code
        self.note(m.ReaderReset(reader.number, round(after_ms, 1), code))

    # -- the turn's own machine ---------------------------------------------------------------------

    def _handle(self, event: Event, why: str = "") -> None:
        before = self.turn.state
        acts = self.turn.handle(event, self.now())
        state = self.turn.state
        if self.turn.deadline is not None:
            self._look_at(self.turn.deadline)
        if before in UNFOLLOWED or state in UNFOLLOWED:
            self._note_orphan(before, event, why)
        for act in acts:
            self._do(act)

    def _note_orphan(self, before: State, event: Event, why: str) -> None:
        """The answer had no listener, or has none now."""
        state = self.turn.state
        if state is State.ORPHANED and before is not State.ORPHANED:
            self.note(m.TurnOrphaned(self.engine.settings.timeouts.orphan_s))
        if before not in UNFOLLOWED:
            self.engine.orphaned(self)
        elif state is State.DONE and event is not Event.ANSWER_FAILED:
            limit = {Event.DEADLINE_PASSED: "unheard", Event.OUTGROWN: why or "size"}.get(
                event, why or "moved on"
            )
            self.note(m.OrphanExpired(limit))

    def _do(self, act: Act) -> None:
        if act is _END:
            self._end()
        elif act is Act.STOP_UPSTREAM:
            self._stop_upstream("nobody wants the answer any more")
        elif act is Act.KEEP:
            self._keep()
        elif act is Act.HAND_OVER:
            self.engine.recorder.answer_handed_over(self.record.turn_id)

    def _stop_upstream(self, why: str, ending: Ending | None = None) -> None:
        """Close the upstream connection, if there is one; `ending` says more than that we stopped it."""
        if self.hedge is not None:
            self.hedge.stop(why)
        attempt, before = self.attempt, self.attempt.ending
        if before is None:
            ending = attempt.ended(ending or attempt.stopped(why, phase=self.events.phase))
            ending = self.with_evidence(attempt, ending)
        if attempt.close():
            self.note(m.UpstreamStopped(attempt.number, why))
        if before is None and ending is not None:
            self.note(m.AttemptEnded(attempt.number, ending))
            self._call_witness(attempt, ending)
            if not self.turn.answered:
                self.ending = self.ending or ending

    def _keep(self) -> None:
        """Put what there is of an answer into the attic: for `attic save`, and for after this process."""
        complete = self.turn.answered and not self._ended_early()
        worth = bool(self.log.size) and (self.streams or (self.turn.answered and (self.status or 0) < 400))
        if not worth or self.engine.settings.record == "none" or (self.kept and not complete):
            return
        try:
            known = self._about()
        except SpoolError as error:
            log.warning("an answer cannot be kept: %s", error)
            return
        self.kept = True
        answer = self.log.lend()
        content_type = "text/event-stream" if self.streams else "application/json"
        self.engine.recorder.keep_answer(
            self.record, answer, complete=complete, content_type=content_type, about=known
        )
        self.engine.summary.kept += 1
        self.note(m.AnswerKept(answer.size, complete))

    def keep_broken_call(self) -> None:
        """An answer was given an early end inside a tool call: nobody will ever be given that call's beginning."""
        if not self.kept:
            self._keep()

    def _ended_early(self) -> bool:
        """Whether the end of the answer is one of ours, and not where upstream would have ended it."""
        return (self.record.healed or "").split(", ")[-1] in (
            heal.Remedy.CUT.value,
            heal.Remedy.SHORTEN.value,
        )

    def _about(self) -> About:
        """What the answer was an answer to: numbers and names, no word of the request. Raises `SpoolError`."""
        try:
            body = self.body.whole()
        except SpoolError:
            body = None
        model, size = self.record.model, self.body.size
        return about(body, self.log, model=model, request_bytes=size, streams=self.streams)

    def _end(self) -> None:
        record, attempt = self.record, self.attempt
        if attempt.busy or self.hedge is not None:
            self._stop_upstream("the turn is over")
        if self.reader is not None:
            self._let_go(self.reader)
        if self.engine.settings.record == "all" and not self.kept:
            self._keep()
        self._count_attempt()
        if self.ending is not None:
            ending = self.ending
        elif self.heard_by is not None:
            ending = COMPLETED
            record.saved_from = self.saved_from
            self.engine.was_heard(self)
        else:
            left = self._left or Ending(Side.CLIENT, Mechanism.CANCELLED, Phase.AFTER_END)
            detail = (
                "nobody heard the finished answer" if self.turn.answered else "nobody waited for the answer"
            )
            ending = Ending(left.side, left.mechanism, left.phase, detail)
        if not record.request_bytes:  # it was never sent to its end
            record.request_bytes = self.body.size
        if self.heard_by is None and record.output_tokens is None:
            record.output_tokens = self.events.output_tokens
        if self.heard_by is None and self.turn.answered:
            record.wasted_tokens = record.output_tokens
        record.ending = ending
        if not ending.completed and (told := final(ending)) != ending.code:
            self._count_break(told)
        if not ending.completed or record.attempts > 1 or record.readers > 1:
            record.request_key = self.engine.request_key(self)
        at = record.ended = instant_now()
        self.note(m.TurnEnded(ending), at)
        if self.healing is not None:
            self.healing.stop()
        if self._alarm is not None:
            self._alarm.forget()
            self._alarm = None
        self.log.close()
        self.body.close()
        self.engine.turn_ended(self)
        # Attempt and reader know the turn, too: without this all of it would wait for the collector.
        self.heard_by = None
        attempt.forget_turn()

    # -- deadlines ----------------------------------------------------------------------------------

    def look(self) -> None:
        """See what is due, and come back when the next deadline is.

        Only what makes a deadline *earlier* needs to call this: what moves one into the future is found
        when the alarm rings in vain. So a short turn looks once.
        """
        if not self.turn.open:
            return
        now = self.now()
        passed, upcoming = due(self._clocks(), self._patience(), now)
        for name in passed:
            self._act_on(name, now)
            if not self.turn.open:
                return
        if passed:
            _, upcoming = due(self._clocks(), self._patience(), now)
        if upcoming is not None:
            self._look_at(upcoming)

    def _look_at(self, at: float) -> None:
        """Look not later than `at`. An earlier alarm does as well: it finds nothing due and sets the next."""
        if self._alarm is not None:
            if self._alarm.at <= at:
                return
            self._alarm.forget()
        self._alarm = self.engine.alarms.set(at, self)

    def alarm_rang(self) -> None:
        """Something may be due."""
        self._alarm = None
        self.look()

    def _clocks(self) -> Clocks:
        reader, attempt = self.reader, self.attempt
        clocks = Clocks(turn_deadline=self.turn.deadline, quiet_noticed=self._quiet_since is not None)
        if attempt.ending is None:
            clocks.upstream_silent_since = attempt.silent_since
            if self.turn.answered or self.events.error is not None:
                clocks.finished_since = self._over_at
                clocks.upstream_silent_since = None
            elif (
                self.record.attempts == 1 and not self.log.size and (attempt.streaming or not attempt.status)
            ):
                clocks.unspoken_since = attempt.sent_at
        if reader is not None and not reader.gone:
            if not reader.opened and self.body_complete and not self.turn.answered:
                clocks.awaiting_headers_since = reader.asked_at
            if reader.can_be_kept_alive:
                clocks.reader_silent_since = reader.written_at
        return clocks

    def _patience(self) -> Patience:
        timeouts, reader = self.engine.settings.timeouts, self.reader
        if reader is None:
            return Patience(None, timeouts.keepalive_s, timeouts.quiet_s)
        hedge_s = self.engine.settings.hedge_s or None
        return Patience(reader.patience_s, reader.timers.keepalive_s, timeouts.quiet_s, hedge_s=hedge_s)

    def _act_on(self, name: Due, now: float) -> None:
        match name:
            case Due.TURN:
                self._handle(Event.DEADLINE_PASSED)
            case Due.OPEN_EARLY:
                self._open_early(now)
            case Due.HEDGE:
                self.hedge = Hedge(self)
                self.hedge.start(now)
            case Due.KEEPALIVE:
                if self.reader is not None:
                    self.reader.keepalive(now)
                    self._quiet_keepalives += 1
            case Due.QUIET_NOTICED:
                self._quiet_since = self.attempt.silent_since
                self._quiet_keepalives = 0
                phase = self.attempt.phase(self.events.phase)
                silent_s = round(now - self._quiet_since, 3) if self._quiet_since is not None else None
                self.note(m.QuietNoticed(phase.value, self.events.tool, silent_s))
            case Due.QUIET_EXPIRED:
                phase = self.attempt.phase(self.events.phase)
                quiet_s = self.engine.settings.timeouts.quiet_s
                detail = f"upstream said nothing for {quiet_s:.0f} s"
                self._upstream_gave_nothing(Ending(Side.GATEWAY, Mechanism.DEADLINE, phase, detail))
            case Due.LINGER:
                self._connection_done()

    def _open_early(self, now: float) -> None:
        reader = self.reader
        assert reader is not None
        streaming = self.streaming is not False and not reader.fold
        if not streaming and not reader.profile.white_space:
            reader.patience_s = float("inf")  # nothing holds it: it leaves at its limit, and its retry adopts
            return
        self.note(m.AnswerOpenedEarly(reader.patience_s))
        self.record.status = self.record.status or 200
        reader.open_early(streaming=streaming, now=now)

    def _upstream_gave_nothing(self, ending: Ending) -> None:
        self._stop_upstream(ending.detail, ending)
        self._failed(ending, "ask again; if it stays silent, ask for a smaller answer")

    def _connection_done(self) -> None:
        """The answer's last event, or its error, came some time ago: do not wait for the end of HTTP's."""
        self.attempt.close()
        self.answer_over(self.attempt)

    def _account_silence(self, now: float) -> None:
        """A silence counts however it ends: with a word, with a break, or with the client's leaving."""
        since = self.attempt.silent_since
        if since is not None:
            self.record.longest_quiet_s = max(self.record.longest_quiet_s, now - since)

    def _end_quiet(self, now: float) -> None:
        if self._quiet_since is None:
            return
        quiet_s = now - self._quiet_since
        self.record.longest_quiet_s = max(self.record.longest_quiet_s, quiet_s)
        self._quiet_since = None
        self.note(m.QuietEnded(round(quiet_s, 3), self._quiet_keepalives))
        reader = self.reader
        if reader is None or not self._quiet_keepalives:
            return
        headers = self.attempt.headers_at is not None
        what = bridged(
            quiet_s,
            reader.timers.limits,
            reader.profile,
            self.events.completed_blocks,
            headers=headers,
            streaming=self.streaming is not False and not reader.fold,
        )
        if what is not None and what.loss is not None:
            self.saved_from = f"silence past its {what.limit.name} limit of {what.limit.seconds:.0f} s"
        elif what is not None:
            self.record.held += 1
