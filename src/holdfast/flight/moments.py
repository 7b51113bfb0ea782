"""Moments: one noticed fact each, in the past tense. A flight is a turn's moments told in order.

Moments carry numbers, names and endings: never a body, a header value of the client's, or a credential.
Times are not in them; whoever records a moment adds the `Instant`. Durations are in seconds.
The docstring of each class is its page (`holdfast explain NAME`).

They are msgspec structs, not dataclasses: a turn makes a dozen, and making and writing one costs a fifth.
"""

from __future__ import annotations

import msgspec

from holdfast.flight.endings import Ending


class Moment(msgspec.Struct, frozen=True, gc=False):
    """One noticed fact."""


class RequestArrived(Moment, frozen=True, gc=False):
    """A client's request head was read."""

    method: str
    path: str
    "Without its query string."
    agent: str
    "The client's User-Agent, shortened."
    profile: str
    "The client profile that was chosen for it."


class RequestEdited(Moment, frozen=True, gc=False):
    """The gateway changed the request before it went upstream; every such edit has a name and is noted."""

    edit: str
    "`identity encoding`, `unbuffer`, `fetch as stream`."
    detail: str = ""


class RequestHeld(Moment, frozen=True, gc=False):
    """The request waits here because it may be a retry of a turn that is still running."""

    other_turn: str


class AttemptStarted(Moment, frozen=True, gc=False):
    """The gateway began to ask upstream."""

    attempt: int


class Connected(Moment, frozen=True, gc=False):
    """An upstream connection was at hand: fresh, or kept from an earlier request."""

    attempt: int
    address: str
    took_s: float
    reused: bool
    tls: str | None = None
    "Protocol version, or None where the connection is plain."
    http: str = "1.1"
    "`1.1` or `2`."
    own_port: int | None = None
    "This machine's port of it: with `address` it is found in a capture. None where it was not measured."


class RequestSent(Moment, frozen=True, gc=False):
    """The last byte of the request went upstream."""

    attempt: int
    body_bytes: int


STILL_ENCODED = ", still encoded: no keepalive"
"Behind the content type of an answer that came compressed although that was not asked for."


class HeadersArrived(Moment, frozen=True, gc=False):
    """The upstream's status and headers arrived."""

    attempt: int
    status: int
    request_id: str | None
    "The provider's own id (`request-id`), to quote to its support."
    content_type: str
    edge_id: str | None = None
    "`cf-ray` or the like, where the edge named itself."

    @property
    def unread(self) -> bool:
        """Whether the body came encoded, so that it was passed on without being read."""
        return self.content_type.endswith(STILL_ENCODED)


class AnswerOpenedEarly(Moment, frozen=True, gc=False):
    """Upstream had not answered within the header patience: the client was given a 200 and keepalives meanwhile."""

    patience_s: float


class FirstEventArrived(Moment, frozen=True, gc=False):
    """The answer's first event arrived."""

    attempt: int
    model: str | None
    input_tokens: int | None
    "Whole prompt: uncached, cache-read and cache-written tokens together; None where the event did not say."


class BlockOpened(Moment, frozen=True, gc=False):
    """A content block opened."""

    index: int
    kind: str
    "`text`, `thinking`, `tool_use`, ..."
    tool: str | None = None


class QuietNoticed(Moment, frozen=True, gc=False):
    """Upstream fell silent for longer than the keepalive interval."""

    phase: str
    "What was under way, as in endings."
    tool: str | None = None
    silent_s: float | None = None
    "How long it had said nothing by then; None in flights of older versions."


class QuietEnded(Moment, frozen=True, gc=False):
    """Upstream spoke again, or the silence ended otherwise."""

    quiet_s: float
    keepalives: int
    "How many were sent to the reader during this silence."


class ReaderJoined(Moment, frozen=True, gc=False):
    """A client connection began to follow the answer."""

    reader: int
    "1 for the first connection of the turn."
    how: str
    "`first`; `retry` (the same request again); `fallback` (the same turn asked without streaming)."
    behind_bytes: int
    "How much of the answer was already there."
    client_port: int | None = None
    "The port that it comes from, as seen here; None where it was not measured."
    own_port: int | None = None
    "The gateway's port that it came to."


class ReaderLeft(Moment, frozen=True, gc=False):
    """A client connection was gone before the answer's end, and this is why we think it went."""

    reader: int
    verdict: str
    "`gave_up`, `lost`, `moved_on`, `cancelled`, `superseded`."
    limit: str | None
    "Which limit of the client's ran out, for `gave_up`."
    limit_s: float | None
    ending: Ending


class ReaderReset(Moment, frozen=True, gc=False):
    """A client connection that had been closed in order was reset right after: the client had stopped listening, too.

    What was decided at the close stays decided: nothing waits to see whether a reset follows.
    """

    reader: int
    after_ms: float
    "Since its close, at most: it may be looked for only when the watch ends."
    code: str
    "The ending's code with both: `C.fin+rst.tool`."


class ReaderLagged(Moment, frozen=True, gc=False):
    """The client stopped reading while the answer went on; what it has not read waits in the stream log."""

    reader: int
    behind_bytes: int


class TurnOrphaned(Moment, frozen=True, gc=False):
    """Nobody follows the answer any more; it goes on being generated for a retry, within limits."""

    patience_s: float


class OrphanExpired(Moment, frozen=True, gc=False):
    """Nobody came back within an orphan's limits."""

    limit: str
    "`unheard` (too long), `size`, `displaced` (a newer orphan of the same agent), `moved on`."


class HedgeStarted(Moment, frozen=True, gc=False):
    """Upstream had said nothing for long, so the question was asked a second time; the first to speak wins."""

    attempt: int
    silent_s: float


class EndingDelayed(Moment, frozen=True, gc=False):
    """A broken answer's early end was put off, because the client would ask for the rest at once and break again."""

    remedy: str
    in_s: float


class NetworkGone(Moment, frozen=True, gc=False):
    """Upstream could not be reached: the turn waits for it, and nothing is tried in vain."""

    why: str
    "A clause: `its name is not resolved`."


class NetworkBack(Moment, frozen=True, gc=False):
    """Upstream could be reached again, and the turn goes on."""

    absent_s: float
    "How long this turn had to wait."


class NetworkChanged(Moment, frozen=True, gc=False):
    """A link, an address or a route of this machine changed."""

    what: str


class MachineSlept(Moment, frozen=True, gc=False):
    """This machine slept: its clocks drifted apart, and connections may have died meanwhile."""

    slept_s: float


class Healed(Moment, frozen=True, gc=False):
    """The answer broke, and goes on or ends in a way that its client was measured to accept."""

    remedy: str
    "As in the healing table: `again`, `under the first start`, `restart`, `splice`, `shorten`, `cut`, `finish`."
    broke: str
    "The code of the break's ending."


class UpstreamStopped(Moment, frozen=True, gc=False):
    """The gateway told upstream to stop, by closing the connection."""

    attempt: int
    why: str


class AttemptEnded(Moment, frozen=True, gc=False):
    """An attempt's upstream exchange ended."""

    attempt: int
    ending: Ending


class EdgeWitnessed(Moment, frozen=True, gc=False):
    """After an attempt that was given no headers, the same address was asked a question that anybody could ask (`HEAD /`).

    A witness, not this request: what answered may be another machine than the one that broke the attempt (`--witness`).
    """

    attempt: int
    "The attempt that it was asked after."
    status: int | None = None
    "Any status is an answer; None where there was none."
    edge_id: str | None = None
    "`cf-ray` or the like, of the witness's answer."
    location: str | None = None
    "Where the edge stands, as it says itself: the letters behind the ray."
    server: str | None = None
    via: str | None = None
    address: str = ""
    took_s: float = 0.0
    broke: str | None = None
    "The code of the witness's own ending, where it was given no answer either."


class AttemptPlanned(Moment, frozen=True, gc=False):
    """What the attempt left unfinished is asked again: when, and what is different this time."""

    attempt: int
    "The attempt to come."
    in_s: float
    change: str
    "`fresh connection`, `another address`, `HTTP/1.1`: to repeat what failed, unchanged, is to expect a wonder."
    why: str
    "What the attempt is to mend, or which of how many retries it is."


class NotAskedAgain(Moment, frozen=True, gc=False):
    """The attempt broke, and the gateway did not ask upstream again: why not."""

    why: str


class RequestDoomed(Moment, frozen=True, gc=False):
    """The same request broke at the same place so often that independent accidents hardly explain it."""

    seen: int
    "Breaks in a row that agree."
    by: str
    "In what they agree: `age`, `answer size`, or `request size` (smaller requests go through meanwhile)."
    age_s: float | None
    "The age of the attempts at their end, the longest; for `age` and `request size`."
    size: int | None
    "Bytes: of the answer for `answer size`, of the request for `request size`."
    bound: float
    "How likely independent accidents would agree like this, at most."


class AnsweredLocally(Moment, frozen=True, gc=False):
    """The gateway answered the request itself and asked upstream nothing."""

    status: int
    why: str


class ErrorRepeated(Moment, frozen=True, gc=False):
    """The client's next request was given upstream's error as it was, which could only be said inside its stream before."""

    status: int


class AnswerFinished(Moment, frozen=True, gc=False):
    """The answer's last event arrived."""

    stop_reason: str | None
    output_tokens: int | None
    estimated: bool = False
    "Whether the count is partly our estimate: the answer was put together from several attempts, or ended by us."


class AnswerHeard(Moment, frozen=True, gc=False):
    """The client's TCP acknowledged the last byte of the answer."""

    reader: int


class AnswerKept(Moment, frozen=True, gc=False):
    """The answer was put into the attic because nobody heard it to its end."""

    size: int
    "Bytes."
    complete: bool


class ErrorSaid(Moment, frozen=True, gc=False):
    """The gateway told the client an error of its own making, or one of upstream's that came late."""

    status: int | None
    "HTTP status; None where the error was said inside a stream that had already begun."
    kind: str
    "The dialect's error type, such as `overloaded_error`."


class TurnEnded(Moment, frozen=True, gc=False):
    """The turn is over."""

    ending: Ending
