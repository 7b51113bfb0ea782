"""The healing table: what becomes of an answer that broke before its end.

Values in, a remedy out. What a client may have heard cannot be taken back, so that comes first; then what
this client was measured to accept (its profile), then what the user allows (settings). The rows are tried
from the top; one that needs another attempt and is not granted one gives way to the next that fits.

Any end before `message_stop` is a break, however clean it looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from holdfast.gateway.dialects.mending import Told


class Heard(Enum):
    """What of the answer its client may have heard when it broke."""

    NOTHING = "nothing"
    "No event of the answer: at most headers and keepalives."
    START = "its start"
    "`message_start`, and no block."
    BLOCK = "an open block"
    "One block is open, and none was completed before it."
    THINKING = "completed thinking"
    "Completed blocks, all of them thinking; another may be open."
    TEXT = "completed text"
    "Completed blocks of text and perhaps thinking; another may be open."
    TOOL = "a completed tool call"
    "Completed blocks with a call of one of the client's own tools among them; another may be open."
    OTHER = "a completed block of another kind"
    "Completed blocks with one of the provider's tools among them, or of a kind that we do not know; no client's call."
    ALL = "all but its last event"
    "`stop_reason` was told and every block is closed: only `message_stop` is missing."


class Remedy(Enum):
    """What can be done."""

    AGAIN = "again"
    "Ask again, as if nothing had happened: the client has heard nothing."
    UNDER_FIRST_START = "under the first start"
    "Ask again; the new answer's `message_start` is left out, because the client has one."
    RESTART = "restart"
    "Ask again; the new answer's `message_start` makes the client drop its open block."
    SPLICE = "splice"
    "Ask for the rest, and put it behind what the client has."
    SHORTEN = "shorten"
    "End the message with `tool_use`: the client runs the completed tool calls, and the model goes on from there."
    CUT = "cut"
    "End the message with `max_tokens`: the client keeps what is complete, and asks for the rest by itself."
    FINISH = "finish"
    "Say the missing last event."
    ERROR = "error"
    "An honest error in the client's dialect."

    @property
    def asks(self) -> bool:
        """Whether it takes another attempt."""
        return self in (Remedy.AGAIN, Remedy.UNDER_FIRST_START, Remedy.RESTART, Remedy.SPLICE)


class Accepts(Protocol):
    """What of a client's profile matters here."""

    @property
    def restarts(self) -> bool: ...
    @property
    def shortens(self) -> bool: ...
    @property
    def shortens_closed(self) -> bool: ...
    @property
    def resumes_cut(self) -> bool: ...


class Allows(Protocol):
    """What of the settings matters here."""

    @property
    def splice(self) -> bool: ...
    @property
    def shorten(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. What is None does not matter."""

    remedy: Remedy
    heard: frozenset[Heard]
    profile: str | None = None
    "The profile's field that must be true."
    setting: str | None = None
    "The setting that must be on."
    open_block: frozenset[str | None] | None = None
    "The kinds of the open block with which the row fits; None among them: no block is open."
    source: str = ""
    test: str = ""
    "Where it is seen to work: a test in `tests/gateway/test_healing.py`. Its moment is `Healed`, its count `healed_by`."


_ANY: Final = frozenset(Heard)
TABLE: Final[tuple[Row, ...]] = (
    Row(
        Remedy.FINISH,
        frozenset((Heard.ALL,)),
        source="protocol: message_stop carries nothing; every measured client takes a message without it for whole",
        test="test_a_missing_last_event_is_said",
    ),
    Row(
        Remedy.AGAIN,
        frozenset((Heard.NOTHING,)),
        source="protocol: headers and keepalives are no part of the answer",
        test="test_a_break_before_anything_was_said_is_not_noticed",
    ),
    Row(
        Remedy.UNDER_FIRST_START,
        frozenset((Heard.START,)),
        source="protocol: blocks do not refer to their message; measured with every client on loopback, 2026-11-21",
        test="test_behind_a_start_that_was_told_another_answer_goes_on",
    ),
    Row(
        Remedy.RESTART,
        frozenset((Heard.BLOCK, Heard.THINKING)),
        profile="restarts",
        source="measured on loopback, 2026-11-21: at a second message_start with another id Claude Code drops the open "
        "block, and sends only the second message's thinking back",
        test="test_claude_code_drops_an_open_block_at_a_second_start",
    ),
    Row(
        Remedy.SPLICE,
        frozenset((Heard.BLOCK, Heard.TEXT)),
        setting="splice",
        open_block=frozenset(("text", None)),
        source="provider's documentation: prefill up to 4.5, a request to continue from 4.6 on",
        test="test_a_broken_text_is_continued_where_that_is_allowed",
    ),
    Row(
        Remedy.SHORTEN,
        frozenset((Heard.TOOL,)),
        profile="shortens",
        setting="shorten",
        source="measured on loopback, 2026-11-21: a message that ends after a completed tool call is run and goes on; "
        "a call that is open without its end is dropped",
        test="test_a_completed_tool_call_is_run_and_nothing_is_asked_again",
    ),
    Row(
        Remedy.SHORTEN,
        frozenset((Heard.TOOL,)),
        profile="shortens_closed",
        setting="shorten",
        open_block=frozenset((None, "text")),
        source="measured on loopback, 2026-11-21: SDKs would hand an open call to their program, so none may be open",
        test="test_an_sdk_runs_a_completed_tool_call_where_none_is_open",
    ),
    Row(
        Remedy.CUT,
        frozenset((Heard.TEXT, Heard.THINKING)),
        profile="resumes_cut",
        setting="shorten",
        source="measured on loopback, 2026-11-21: after max_tokens Claude Code keeps what is complete, drops a block "
        "without an end, and asks for the rest by itself, three times in a row; after an error behind completed thinking "
        "2.1.114 fails",
        test="test_behind_completed_text_the_client_asks_for_the_rest_itself",
    ),
    Row(
        Remedy.CUT,
        frozenset((Heard.BLOCK,)),
        profile="resumes_cut",
        setting="shorten",
        open_block=frozenset(("text",)),
        source="measured on loopback, 2026-11-21: a text that is given its end is kept as far as it came, and resumed. "
        "Where nothing would be kept, the client's own retries are better: they wait longer",
        test="test_half_a_text_is_kept_when_no_attempt_is_left",
    ),
    Row(
        Remedy.ERROR,
        _ANY,
        source="nothing that was said may be said again, or passed off as the whole",
        test="test_an_open_block_of_an_unmeasured_client_is_an_honest_error",
    ),
)


def rows(heard: Heard, open_block: str | None, profile: Accepts, settings: Allows) -> Iterator[Row]:
    """The rows that fit, best first; the last is always the honest error. `open_block` is the open block's kind."""
    for row in TABLE:
        if heard not in row.heard:
            continue
        if row.profile is not None and not getattr(profile, row.profile):
            continue
        if row.setting is not None and not getattr(settings, row.setting):
            continue
        if row.open_block is None or open_block in row.open_block:
            yield row


CUT_WAITS_S: Final = (0.0, 2.0, 10.0, 40.0)
"Before the first cut within `CUTS_COUNT_S`, the second, ... : clients ask for the rest at once, and three times only."
CUTS_COUNT_S: Final = 300.0


def cut_wait_s(earlier: Iterable[float], now: float) -> float:
    """How long to wait, with keepalives, before an answer is cut; `earlier` are the times of this agent's last cuts."""
    recent = sum(now - at < CUTS_COUNT_S for at in earlier)
    return CUT_WAITS_S[min(recent, len(CUT_WAITS_S) - 1)]


def keeps_counts(healed: str) -> bool:
    """Whether the token counts of an answer that was healed so (`again, finish`) are still the provider's own."""
    return {Remedy.AGAIN.value, Remedy.FINISH.value}.issuperset(healed.split(", "))


def row(remedy: Remedy) -> Row:
    """The first row with this remedy."""
    return next(row for row in TABLE if row.remedy is remedy)


def heard(told: Told) -> Heard:
    """Where in the answer a client stands that was told this much."""
    if not told.started:
        return Heard.NOTHING
    if told.stop_reason is not None and told.open is None:
        return Heard.ALL
    if told.completed_tool:
        return Heard.TOOL
    if told.completed_other:
        return Heard.OTHER
    if told.completed_text:
        return Heard.TEXT
    if told.completed:
        return Heard.THINKING
    return Heard.BLOCK if told.open is not None else Heard.START
