"""Answers that were cut again and again: whether the client got the whole in the end. Values in, values out.

A *cut* ends a broken answer as if a limit of tokens had ended it, so that Claude Code asks for the rest by itself. It
heals only if a rest comes that ends by itself. Claude Code asks three times in a row, and then gives the turn up with a
message about its maximum of output tokens: each single answer ended well then, and the turn is lost all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from holdfast.flight.endings import Mechanism
from holdfast.flight.record import TurnRecord

MOST_RESTS: Final = 3
"So often in a row Claude Code asks for the rest; measured, see docs/endings-clients-accept.md."
AT_ONCE_MS: Final = 10_000
"The rest is asked for within some 20 ms; what comes later than this is another question."
AGAIN_MS: Final = 60_000
"A client that was told an error asks again within this, if it does."
ALIKE: Final = 0.9
"The rest is asked for with all that was said before: a request that is much smaller is another one."
MOST_OPEN: Final = 1000

CUT: Final = "cut"


@dataclass(slots=True)
class Row:
    """One answer that was cut, and each rest of it."""

    turn_ids: list[str] = field(default_factory=list)
    "Those that were cut, in order."
    saved_from: list[str] = field(default_factory=list)
    "From what those turns were said to be saved."
    request_bytes: int = 0
    until_wall_ms: int = 0
    "What begins later is not the rest any more."
    whole: bool = False
    "Whether a rest came that was not cut."
    going_on: bool = True
    "Whether a rest may still come."
    failed: str = ""
    "The ending's code of a rest that failed, if the last one did."

    @property
    def cuts(self) -> int:
        """How often it was cut."""
        return len(self.turn_ids)

    @property
    def often(self) -> str:
        """`once`, `4 times`."""
        return "once" if self.cuts == 1 else f"{self.cuts} times"

    @property
    def lost(self) -> bool:
        """Whether it never became whole, and will not."""
        return not (self.whole or self.going_on)

    @property
    def used_up(self) -> bool:
        """Whether the client had asked for the rest as often as it does."""
        return self.cuts > MOST_RESTS

    def brief(self, turn_id: str) -> str:
        """For a list: what became of this turn's answer."""
        number = self.turn_ids.index(turn_id) + 1
        if number < self.cuts:
            return f"cut {number} of {self.cuts}, never whole"
        return f"cut {self.often}, never whole: the turn was lost"

    def sentence(self) -> str:
        """What happened, and what the client's words meant."""
        said = f"The answer was cut {self.often}, and never became whole: the turn was lost."
        if self.failed:
            said += f" The last request for its rest failed ({self.failed})."
        if self.used_up:
            said += f" Claude Code asks for the rest {MOST_RESTS} times in a row and then gives up."
        return f"{said} {CLIENTS_WORDS}" if self.used_up else said


CLIENTS_WORDS: Final = (
    'Its message "response exceeded the ... output token maximum" (64000, or another number) came from these ends, '
    "which Holdfast told as max_tokens: the model had reached no limit, and a larger one would not help."
)


def is_cut(record: TurnRecord) -> bool:
    """Whether the answer that was heard ended by a cut."""
    well = record.ending is not None and record.ending.completed
    return well and record.healed is not None and record.healed.split(", ")[-1] == CUT


class Rows:
    """Follows turns in the order in which they ended."""

    def __init__(self) -> None:
        self._open: dict[tuple[str | None, ...], Row] = {}
        self._lost: list[Row] = []
        self._lost_ever = 0

    def add(self, record: TurnRecord) -> Row | None:
        """Take a turn that has ended; its row, if it was cut."""
        if record.kind != "turn" or record.ended is None:
            return None
        if not self._open and not is_cut(record):
            return None  # nearly always
        key = (record.session, record.subagent, record.path, record.upstream, record.agent)
        row = self._open.get(key)
        if row is not None and record.started.wall_ms > row.until_wall_ms:
            self._close(key, row)
            row = None
        if row is not None and record.request_bytes < ALIKE * row.request_bytes:
            return None  # one beside it: a title, a summary
        if is_cut(record):
            if row is None:
                row = self._begin(key)
            row.turn_ids.append(record.turn_id)
            row.saved_from += [record.saved_from] if record.saved_from else []
            row.request_bytes, row.failed = record.request_bytes, ""
            row.until_wall_ms = record.ended.wall_ms + AT_ONCE_MS
            if row.used_up:
                self._close(key, row)
            return row
        if row is not None:
            ending = record.ending
            if ending is not None and ending.completed:
                row.whole, row.going_on = True, False
                del self._open[key]
            elif ending is not None:
                row.failed = ending.code
                stopped = ending.mechanism is Mechanism.CANCELLED
                row.until_wall_ms = record.ended.wall_ms + (0 if stopped else AGAIN_MS)
        return None

    def _begin(self, key: tuple[str | None, ...]) -> Row:
        if len(self._open) >= MOST_OPEN:
            oldest = next(iter(self._open))
            self._close(oldest, self._open[oldest])
        self._open[key] = row = Row()
        return row

    def _close(self, key: tuple[str | None, ...], row: Row) -> None:
        row.going_on = False
        self._lost = [*self._lost[-MOST_OPEN:], row]
        self._lost_ever += 1
        del self._open[key]

    def never_whole(self, now_wall_ms: int | None = None) -> list[Row]:
        """The rows that never became whole; without `now` nothing more comes, and those still open are among them."""
        for key, row in list(self._open.items()):
            if now_wall_ms is None or now_wall_ms > row.until_wall_ms:
                self._close(key, row)
        return self._lost

    def lost_by(self, now_wall_ms: int) -> int:
        """How many rows never became whole, of all that were followed."""
        self.never_whole(now_wall_ms)
        return self._lost_ever


def row_of(record: TurnRecord, near: Iterable[TurnRecord], now_ms: int) -> Row | None:
    """What became of a turn's answer that was cut, by the turns around it; None where it was not cut."""
    return rows([*near, record], now_ms).get(record.turn_id) if is_cut(record) else None


def rows(records: Iterable[TurnRecord], now_wall_ms: int) -> dict[str, Row]:
    """The row of each turn that was cut, by turn id. A rest that is still being answered keeps its row open."""
    known = list(records)
    found, by_turn = Rows(), dict[str, Row]()
    over = sorted(
        (one for one in known if one.ended is not None), key=lambda one: one.ended.wall_ms if one.ended else 0
    )
    for record in over:
        if row := found.add(record):
            by_turn[record.turn_id] = row
    found.never_whole(now_wall_ms)
    running = {(one.session, one.subagent) for one in known if one.ended is None}
    by_id = {one.turn_id: one for one in known}
    for turn_id, row in by_turn.items():
        one = by_id[turn_id]
        if (one.session, one.subagent) in running and not row.whole and not row.used_up:
            row.going_on = True
    return by_turn
