"""One try upstream, on one connection: where it stands, and what its end means.

HTTP says when a response is over; only the dialect says whether the answer was. A body that ends
properly before the answer's last event is a truncation, however clean it looks.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

from holdfast.flight.endings import COMPLETED, Ending, Mechanism, Phase, Side


class Stage(IntEnum):
    """Where an attempt stands. It only moves forward."""

    CONNECTING = 1
    SENDING = 2
    AWAITING_HEADERS = 3
    ANSWERING = 4
    ENDED = 5


def refused_with(status: int) -> Ending:
    """Upstream answered with an error status."""
    return Ending(Side.PROVIDER, Mechanism.HTTP_ERROR, Phase.AWAITING_HEADERS, f"HTTP {status}")


# Before Python 3.12 looking a member up in its class takes as long as a short function; these are asked for in every turn.
_SENDING, _AWAITING, _ANSWERING, _ENDED = Stage.SENDING, Stage.AWAITING_HEADERS, Stage.ANSWERING, Stage.ENDED


class Attempt:
    """One attempt's stage, clocks and end. Times are monotonic seconds."""

    __slots__ = (
        "ending",
        "headers_at",
        "heard_at",
        "number",
        "sent_at",
        "stage",
        "started_at",
        "status",
        "streaming",
    )

    def __init__(self, number: int, now: float) -> None:
        self.number = number
        self.stage = Stage.CONNECTING
        self.started_at = now
        self.sent_at: float | None = None
        self.headers_at: float | None = None
        self.heard_at: float | None = None
        "The last byte of any kind."
        self.status: int | None = None
        self.streaming = False
        "Whether the answer is an event stream whose inside we read."
        self.ending: Ending | None = None

    def __repr__(self) -> str:
        where = self.ending.code if self.ending else self.stage.name.lower().replace("_", " ")
        return f"<Attempt {self.number} {where}>"

    def connected(self) -> None:
        """A connection is at hand; the request is going out."""
        self._advance(_SENDING)

    def sent(self, now: float) -> None:
        """The request's last byte went out."""
        self.sent_at = now
        self._advance(_AWAITING)

    def headers(self, status: int, *, streaming: bool, now: float) -> None:
        """Status and headers arrived, perhaps before the request was out."""
        self.headers_at = self.heard_at = now
        self.status = status
        self.streaming = streaming
        self._advance(_ANSWERING)

    @property
    def silent_since(self) -> float | None:
        """When upstream was heard last, or was first owed an answer; None while it owes none."""
        if self.stage is _AWAITING or self.stage is _ANSWERING:
            return self.heard_at if self.heard_at is not None else self.sent_at
        return None

    def answer_ended(self, *, finished: bool, failed: bool, phase: Phase) -> Ending:
        """HTTP says that the response is over. `finished` and `failed` are what the stream itself said."""
        assert self.status is not None
        if self.status >= 400:
            ending = refused_with(self.status)
        elif not self.streaming or finished:
            ending = COMPLETED
        elif failed:
            ending = Ending(Side.PROVIDER, Mechanism.STREAM_ERROR, phase)
        else:
            ending = Ending(Side.PROVIDER, Mechanism.TRUNCATED, phase, "the body ended before the answer did")
        return self._end(ending)

    def broke(self, ending: Ending, *, finished: bool, failed: bool, phase: Phase) -> Ending:
        """The connection went before the response was over. After the answer's last event that is no loss."""
        if self.streaming and finished:
            return self._end(COMPLETED)
        if self.streaming and failed:
            return self._end(
                replace(ending, mechanism=Mechanism.STREAM_ERROR, side=Side.PROVIDER, phase=phase)
            )
        if self.stage is Stage.ANSWERING:
            ending = replace(ending, phase=phase if self.streaming else Phase.IN_BODY)
        return self._end(ending)

    def stopped(self, why: str, *, phase: Phase, mechanism: Mechanism = Mechanism.CANCELLED) -> Ending:
        """We closed it."""
        return self._end(Ending(Side.GATEWAY, mechanism, self.phase(phase), why))

    def ended(self, ending: Ending) -> Ending:
        """It is over, for a reason that was found elsewhere; the first reason stays."""
        return self._end(ending)

    def phase(self, in_stream: Phase) -> Phase:
        """What is under way, where `in_stream` says where the stream stands."""
        match self.stage:
            case Stage.CONNECTING:
                return Phase.CONNECTING
            case Stage.SENDING:
                return Phase.SENDING
            case Stage.AWAITING_HEADERS:
                return Phase.AWAITING_HEADERS
            case _:
                return in_stream if self.streaming else Phase.IN_BODY

    def _advance(self, stage: Stage) -> None:
        if stage > self.stage:
            self.stage = stage

    def _end(self, ending: Ending) -> Ending:
        if self.ending is None:
            self.ending = ending
            self.stage = _ENDED
        return self.ending
