"""The healing of one turn: from a break to the next attempt, or to an end that its client accepts.

Made at the first break; most turns never have one. What may be done is decided elsewhere, by values: what
the client has heard (`mending.told`), what fits that (`heal`), whether another attempt is worth it (`retry`,
`outage`, `doomed`). Here those answers become actions on the carrier.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from holdfast.flight import moments as m
from holdfast.flight.endings import Ending, Mechanism, Side
from holdfast.gateway import heal
from holdfast.gateway.alarms import Alarm
from holdfast.gateway.asking import Editor
from holdfast.gateway.defects import defect
from holdfast.gateway.dialects import mending, tools
from holdfast.gateway.dialects.splicing import (
    Continuation,
    Splice,
    continuation,
    estimated_tokens,
    texts_told,
)
from holdfast.gateway.doomed import Break, DoomedAnswer, Verdict
from holdfast.gateway.heal import Remedy, Row
from holdfast.gateway.images import strip_images
from holdfast.gateway.retry import Again, Broke, Change
from holdfast.gateway.streamlog import SpoolError

if TYPE_CHECKING:
    from holdfast.gateway.carrier import Carrier
    from holdfast.gateway.sameness import Key

log = logging.getLogger("holdfast.gateway")


class Healing:
    """What is being done about a turn whose attempt broke. Times are monotonic seconds."""

    __slots__ = (
        "_again",
        "_alarm",
        "_carrier",
        "_due",
        "_heard",
        "_key",
        "_rest",
        "_row",
        "broken",
        "verdict",
    )

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._key: Key
        "Names the question across its client's own retries; taken at each break that is looked into."
        self._heard = heal.Heard.NOTHING
        self._rest: tuple[mending.Told, Continuation] | None = None
        "How the rest of a broken text is to be asked for."
        self._row: Row | None = None
        "What the next attempt is for; None while none is planned."
        self._again: Again | None = None
        self._alarm: Alarm | None = None
        self._due = False
        "Whether the next attempt's time has come, and it waits for somebody to listen or for the request's end."
        self.broken: tuple[Ending, str] | None = None
        "The break that the next attempt is to heal, and the advice that came with it."
        self.verdict: Verdict | None = None
        "Why the question is not worth another try."

    def __repr__(self) -> str:
        planned = "nothing planned" if self._row is None else f"{self._row.remedy.value} planned"
        return f"<Healing of {self._carrier.record.turn_id}, {planned}>"

    # -- after a break ------------------------------------------------------------------------------

    def broke(self, ending: Ending, advice: str) -> bool:
        """An attempt ended and the answer had not. Whether something is done about it. Raises `SpoolError`."""
        carrier, reader = self._carrier, self._carrier.reader
        if reader is None or not self._worth_it(ending):
            return False
        carrier.request_resumed()  # the rest of the request is needed, and nobody else asks for it any more
        self._key = carrier.engine.turn_key(carrier)  # of as much of the request as there is now
        told = self._told()
        self._heard, self.broken = heal.heard(told), (ending, advice)
        fitting = heal.rows(self._heard, told.open_kind, reader.profile, carrier.engine.settings)
        refused = self._is_doomed(ending)
        for row in fitting:
            if row.remedy is Remedy.ERROR or (row.remedy.asks and refused):
                continue
            if not row.remedy.asks:
                self._plan_end(row)
                return True
            if row.remedy is Remedy.SPLICE and not self._can_continue(told):
                continue
            answer = carrier.engine.permit(self._key, self._as_broke(ending))
            if isinstance(answer, Again):
                self._plan(row, answer)
                return True
            refused = True
            carrier.note(m.NotAskedAgain(answer.why))
        if not refused:
            carrier.note(m.NotAskedAgain("nothing fits what this client has heard and is measured to accept"))
        return False

    def _can_continue(self, told: mending.Told) -> bool:
        """Whether the rest of a text can be asked for; then how is kept until it is."""
        carrier, question = self._carrier, self._carrier.question
        texts = texts_told(carrier.told_bytes())
        if texts is None:
            return False
        question.rest = None
        body = question.edited(carrier.body) or carrier.body.whole()
        model = carrier.events.model or told.model or ""
        asked = continuation(body, texts, model=model, said_tokens=estimated_tokens(texts))
        self._rest = None if asked is None else (told, asked)
        return asked is not None

    def _is_doomed(self, ending: Ending) -> bool:
        """Whether one more try of this question is not worth its price."""
        carrier, attempt, now = self._carrier, self._carrier.attempt, self._carrier.now()
        doom = carrier.engine.doom
        carrier.engine.mark_troubled(carrier.head_key, now)
        phase = attempt.phase(carrier.events.phase) if attempt.ending is None else ending.phase
        doom.broke(
            self._key,
            Break(
                code=ending.code,
                age_s=now - (attempt.sent_at or attempt.started_at),
                answer_bytes=attempt.answer_bytes,
                request_bytes=carrier.body.size,
                input_tokens=carrier.events.input_tokens,
                phase=phase,
                silent_s=now - (attempt.heard_at or attempt.sent_at or attempt.started_at),
            ),
            now,
        )
        self.verdict = verdict = doom.verdict(self._key, now)
        if verdict is None or self._strips():
            return False
        carrier.note(m.RequestDoomed(verdict.seen, verdict.by, verdict.age_s, verdict.size, verdict.bound))
        return True

    def _strips(self) -> bool:
        """Whether the next attempt can leave images out, as the settings ask for doomed requests."""
        carrier = self._carrier
        if carrier.engine.settings.on_doomed != "strip-images" or carrier.question.strips:
            return False
        carrier.question.strips = strip_images(carrier.body.whole())[1] > 0
        return carrier.question.strips

    @property
    def answer(self) -> DoomedAnswer | None:
        """What the client is told of a doomed question; None where it is not doomed."""
        carrier, verdict = self._carrier, self.verdict
        if verdict is None or carrier.reader is None:
            return None
        return carrier.engine.doomed_answer(verdict, carrier.reader.profile, carrier.record.turn_id)

    def _worth_it(self, ending: Ending) -> bool:
        carrier, reader = self._carrier, self._carrier.reader
        assert reader is not None
        if reader.gone or carrier.engine.stopping or carrier.turn.answered:
            return False
        connection_alone = ending.mechanism in (Mechanism.SLEPT, Mechanism.ABORTED)
        if ending.side in (Side.GATEWAY, Side.MACHINE) and not connection_alone:
            return False  # our own limits and defects; asking again changes nothing
        if reader.opened and not reader.promised_events and (reader.offset or not reader.opened_early):
            return False  # half a JSON document was told, or its length: nothing can be put behind it
        if not carrier.splits_between_events:
            return False  # half an event was told, one too long to be held
        # What the client retries well by itself passes through, as long as it can be told by status.
        status = carrier.attempt.status
        return status is None or status < 400 or reader.promised_events

    def _told(self) -> mending.Told:
        carrier, reader = self._carrier, self._carrier.reader
        if reader is None or not reader.promised_events or not reader.offset:
            return mending.NOTHING_TOLD
        return mending.told(carrier.told_bytes())

    def _as_broke(self, ending: Ending) -> Broke:
        carrier, attempt = self._carrier, self._carrier.attempt
        error = carrier.events.error
        return Broke(
            ending=ending,
            sent=attempt.address is not None and not ending.evidence.get("not_processed"),
            attempt=attempt.number,
            status=attempt.status,
            error=None if error is None else str(error["type"]),
            retry_after_s=attempt.retry_after_s,
            should_retry=attempt.should_retry,
            http="2" if attempt.http == "2" else "1.1",
            address=attempt.address,
            age_s=carrier.now() - attempt.started_at,
        )

    # -- another attempt ----------------------------------------------------------------------------

    def _plan(self, row: Row, again: Again) -> None:
        carrier = self._carrier
        self._row, self._again, self._due = row, again, False
        carrier.events.error = None  # it is dealt with; keepalives go on in the client's own form
        if row.remedy is Remedy.AGAIN:
            carrier.forget_answer()  # now: a reader that had stopped may read on before the next attempt
        carrier.note(
            m.AttemptPlanned(carrier.record.attempts + 1, round(again.after_s, 3), again.change, again.why)
        )
        self._wait(again.after_s)

    def _wait(self, seconds: float) -> None:
        carrier = self._carrier
        if seconds > 0:
            self._alarm = carrier.engine.alarms.set(carrier.now() + seconds, self)
            carrier.look()
        else:
            self.alarm_rang()

    def alarm_rang(self) -> None:
        """It is time for what was planned."""
        self._alarm = None
        self._due = True
        self.go_on()

    def go_on(self) -> None:
        """Begin the planned attempt, if it is time, somebody listens and the request is whole."""
        carrier, row = self._carrier, self._row
        if row is None or not self._due or carrier.reader is None or not carrier.body_complete:
            return
        assert self.broken is not None
        self._row, self._due = None, False
        try:
            if not row.remedy.asks:
                self._end_well(row, mending.told(carrier.told_bytes()))
                return
            if row.remedy is not Remedy.AGAIN:  # then nothing is left of it since it was planned
                carrier.keep_told()
                carrier.append(
                    mending.mark(f"the answer broke here ({self.broken[0].code}); another goes on")
                )
            self._note(row)
            carrier.question.rest = None
            editor: Editor | None = None
            if row.remedy is Remedy.UNDER_FIRST_START:
                editor = mending.UnderFirstStart()
            elif row.remedy is Remedy.SPLICE and self._rest is not None:
                editor, carrier.question.rest = Splice(*self._rest), self._rest[1].body
                carrier.note(m.RequestEdited("splice", f"the rest, by {self._rest[1].form.value}"))
            again = self._again
            assert again is not None
            carrier.ask_again(editor, avoid=again.avoid, http1=again.change is Change.HTTP_1)
        except SpoolError as error:
            carrier.machine_failed(error)
        except Exception as error:  # a defect of ours must not leave a turn without a clock
            log.error("a broken answer cannot be healed: %s", defect(error))
            carrier.not_healed(*self.broken)

    def reader_joined(self) -> None:
        """Somebody new listens, who has heard nothing: what was planned can be done as if nothing had happened."""
        if self._row is None or not self._row.remedy.asks:
            return  # an end of ours is as good for this one: it gets the answer so far first
        self._row = heal.row(Remedy.AGAIN)
        self._carrier.forget_answer()

    def stop(self) -> None:
        """The turn is over."""
        self._row = None
        if self._alarm is not None:
            self._alarm.forget()
            self._alarm = None

    def _note(self, row: Row) -> None:
        """Write down what was done; `saved` only where the client was measured to lose the turn by itself."""
        carrier, reader = self._carrier, self._carrier.reader
        assert self.broken is not None and reader is not None
        ending = self.broken[0]
        carrier.note(m.Healed(row.remedy.value, ending.code))
        carrier.healed(row.remedy.value, ending.code)
        told, mechanism = self._heard.name.lower(), ending.mechanism.value
        if reader.profile.loss_at_break(told, mechanism, headers=reader.opened) is not None:
            carrier.saved_from = f"a broken answer ({ending.code})"

    # -- an end of ours -----------------------------------------------------------------------------

    def _plan_end(self, row: Row) -> None:
        carrier = self._carrier
        carrier.keep_told()
        carrier.events.error = None
        self._row, self._due = row, False
        wait_s = carrier.engine.cut_wait_s(carrier) if row.remedy is Remedy.CUT else 0.0
        if wait_s > 0:
            carrier.note(m.EndingDelayed(row.remedy.value, wait_s))
        self._wait(wait_s)

    def _end_well(self, row: Row, told: mending.Told) -> None:
        """Say what is missing to a proper end."""
        carrier = self._carrier
        assert self.broken is not None
        self._note(row)
        reason = "tool_use" if row.remedy is Remedy.SHORTEN else "max_tokens"
        ending = mending.closing(told, reason, carrier.estimated_tokens(), close_open=self._closes(row, told))
        if told.open is not None and told.open.kind.endswith("tool_use"):
            carrier.keep_broken_call()  # first: once the client has the end the turn may be over
        carrier.end_with(mending.mark(f"the answer broke here ({self.broken[0].code})") + ending)

    def _closes(self, row: Row, told: mending.Told) -> bool:
        """Whether the open block is ended too: text stays as far as it came; the rest is dropped by the client."""
        if told.open is None or told.open_kind == "text":
            return True
        # A call cut short that its tool must refuse tells the model of it; one that might be run may not be said.
        shortened_call = row.remedy is Remedy.SHORTEN and told.open_kind == "tool_use"
        return shortened_call and tools.needs_input(self._carrier.body.whole(), told.open.tool)
