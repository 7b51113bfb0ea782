"""The life of a turn, seen from the side of those who listen to it.

A turn is one request of a client's, from its arrival to the last word that the client hears. The answer
has its own life (`attempt`): it is under way, finished or failed. What is decided here is what becomes of
it when its listener goes and when somebody comes back.

    followed     a client connection follows the answer, which is under way
    cancelling   the client cancelled; its retry may still come within the cancel grace
    orphaned     the client gave up or was lost; the answer goes on for its retry
    settling     the answer is finished, its last bytes are on their way to a client connection
    unheard      the answer is finished and nobody heard its end; the first retry gets it
    done         nothing more can happen

Rules that the table below holds: a cancelled turn is never replayed; an unheard answer is handed over
once; a turn heard to its end is never replayed; whatever has no listener has a deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from holdfast.gateway.settings import Timeouts


class State(Enum):
    """Where a turn stands."""

    __hash__ = object.__hash__  # Python 3.11's own is slow, and the table is asked twice a step

    FOLLOWED = "followed"
    CANCELLING = "cancelling"
    ORPHANED = "orphaned"
    SETTLING = "settling"
    UNHEARD = "unheard"
    DONE = "done"


class Event(Enum):
    """What can happen to a turn."""

    __hash__ = object.__hash__

    ANSWER_FINISHED = "answer finished"
    ANSWER_FAILED = "answer failed"
    "The attempt broke, or upstream answered with an error: there is nothing more to come."
    READER_JOINED = "reader joined"
    READER_GAVE_UP = "reader gave up"
    READER_LOST = "reader lost"
    READER_CANCELLED = "reader cancelled"
    MOVED_ON = "moved on"
    "The client is gone for good, or asked something else in this turn's place."
    HEARD = "heard"
    "The last byte was acknowledged by the peer's TCP."
    DEADLINE_PASSED = "deadline passed"
    OUTGROWN = "outgrown"
    "An orphan's answer exceeds what is kept for an orphan, or a newer orphan took its place."


class Act(Enum):
    """What the turn wants done, in this order."""

    STOP_UPSTREAM = "stop upstream"
    KEEP = "keep the answer in the attic"
    HAND_OVER = "give the unheard answer to the reader who joined; it leaves the attic's waiting list"
    END = "end the turn"


@dataclass(frozen=True, slots=True)
class Step:
    """A row's right side: the next state, what to do, and how long the turn may stay in that state."""

    state: State
    acts: tuple[Act, ...] = ()
    stay: str | None = None
    "The name of a field of `Timeouts`; None for no deadline."


_S, _E, _A = State, Event, Act

TABLE: Final[dict[tuple[State, Event], Step]] = {
    (_S.FOLLOWED, _E.ANSWER_FINISHED): Step(_S.SETTLING),
    (_S.FOLLOWED, _E.ANSWER_FAILED): Step(_S.DONE, (_A.KEEP, _A.END)),
    (_S.FOLLOWED, _E.READER_JOINED): Step(_S.FOLLOWED),
    (_S.FOLLOWED, _E.READER_GAVE_UP): Step(_S.ORPHANED, stay="orphan_s"),
    (_S.FOLLOWED, _E.READER_LOST): Step(_S.ORPHANED, stay="orphan_s"),
    (_S.FOLLOWED, _E.READER_CANCELLED): Step(_S.CANCELLING, stay="cancel_grace_s"),
    (_S.FOLLOWED, _E.MOVED_ON): Step(_S.DONE, (_A.STOP_UPSTREAM, _A.END)),
    #
    (_S.CANCELLING, _E.ANSWER_FINISHED): Step(_S.CANCELLING, stay="cancel_grace_s"),
    (_S.CANCELLING, _E.ANSWER_FAILED): Step(_S.DONE, (_A.END,)),
    (_S.CANCELLING, _E.READER_JOINED): Step(_S.FOLLOWED),
    (_S.CANCELLING, _E.MOVED_ON): Step(_S.DONE, (_A.STOP_UPSTREAM, _A.END)),
    (_S.CANCELLING, _E.DEADLINE_PASSED): Step(_S.DONE, (_A.STOP_UPSTREAM, _A.END)),
    #
    (_S.ORPHANED, _E.ANSWER_FINISHED): Step(_S.UNHEARD, (_A.KEEP,), stay="unheard_s"),
    (_S.ORPHANED, _E.ANSWER_FAILED): Step(_S.DONE, (_A.KEEP, _A.END)),
    (_S.ORPHANED, _E.READER_JOINED): Step(_S.FOLLOWED),
    (_S.ORPHANED, _E.MOVED_ON): Step(_S.DONE, (_A.STOP_UPSTREAM, _A.KEEP, _A.END)),
    (_S.ORPHANED, _E.DEADLINE_PASSED): Step(_S.DONE, (_A.STOP_UPSTREAM, _A.KEEP, _A.END)),
    (_S.ORPHANED, _E.OUTGROWN): Step(_S.DONE, (_A.STOP_UPSTREAM, _A.KEEP, _A.END)),
    #
    (_S.SETTLING, _E.ANSWER_FAILED): Step(_S.DONE, (_A.KEEP, _A.END)),
    (_S.SETTLING, _E.READER_JOINED): Step(_S.SETTLING),
    (_S.SETTLING, _E.HEARD): Step(_S.DONE, (_A.END,)),
    (_S.SETTLING, _E.READER_GAVE_UP): Step(_S.UNHEARD, (_A.KEEP,), stay="unheard_s"),
    (_S.SETTLING, _E.READER_LOST): Step(_S.UNHEARD, (_A.KEEP,), stay="unheard_s"),
    (_S.SETTLING, _E.READER_CANCELLED): Step(_S.DONE, (_A.END,)),
    (_S.SETTLING, _E.MOVED_ON): Step(_S.DONE, (_A.END,)),
    #
    (_S.UNHEARD, _E.READER_JOINED): Step(_S.SETTLING, (_A.HAND_OVER,)),
    (_S.UNHEARD, _E.MOVED_ON): Step(_S.DONE, (_A.END,)),
    (_S.UNHEARD, _E.DEADLINE_PASSED): Step(_S.DONE, (_A.END,)),
    (_S.UNHEARD, _E.OUTGROWN): Step(_S.DONE, (_A.END,)),
}
"Every succession that means something; any other input leaves the turn as it is."


# What is asked for in every turn: before Python 3.12 looking a member up in its class takes as long as a short function.
_FINISHED, _JOINED, _HAND_OVER = Event.ANSWER_FINISHED, Event.READER_JOINED, Act.HAND_OVER
_CANCELLING, _UNHEARD, _DONE = State.CANCELLING, State.UNHEARD, State.DONE
UNFOLLOWED: Final = (State.ORPHANED, State.UNHEARD)
"The states of an answer that nobody listens to, and that is not cancelled."


class Turn(msgspec.Struct, gc=False, eq=False):
    """One turn's state. Feed it events with the time; it answers what it wants done and when to look again."""

    _timeouts: Timeouts
    _handed_over: bool = False
    state: State = State.FOLLOWED
    answered: bool = False
    "Whether the answer is finished."
    deadline: float | None = None
    "Monotonic seconds; `DEADLINE_PASSED` is due then."

    def __repr__(self) -> str:
        return f"<Turn {self.state.value}{', answered' if self.answered else ''}>"

    def handle(self, event: Event, now: float) -> tuple[Act, ...]:
        """Take one event; return what to do. Events that mean nothing in this state return nothing."""
        if event is _FINISHED:
            self.answered = True
        step = TABLE.get((self.state, event))
        if step is None:
            return ()
        if event is _JOINED and self.answered:
            step = Step(State.SETTLING, step.acts)
        if step.state is _UNHEARD and self._handed_over:
            # Handed over once already, and that reader went too: from now on it is in the attic only.
            step = Step(State.DONE, (Act.KEEP, Act.END))
        if _HAND_OVER in step.acts:
            self._handed_over = True
        keep_deadline = self.state is step.state is _CANCELLING
        self.state = step.state
        if not keep_deadline:
            self.deadline = None if step.stay is None else now + getattr(self._timeouts, step.stay)
        return step.acts

    @property
    def adoptable(self) -> bool:
        """Whether a retry may take it without asking whether somebody else is still listening."""
        return self.state in (State.CANCELLING, State.ORPHANED, State.UNHEARD)

    @property
    def open(self) -> bool:
        """Whether anything can still happen."""
        return self.state is not _DONE
