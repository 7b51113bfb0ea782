"""Failed tries as transcripts and the client's telemetry tell them together, each once. Values in, values out.

Transcripts hide tries: which ones hangs on the version and the mode (`logs_what`). Telemetry tells them all, where it could
not be sent, and of a try its own time. A try of both is one: it is of the same session, the same number, the same second,
and announces the same wait to the millisecond. What only telemetry tells becomes a failure like any other, if it was the
conversation's or a subagent's; failed requests for a title or a summary are nobody's turn, and counted apart.

Telemetry names no conversation within a session. An end says how long ago its request was first asked, and so which tries
were its own; of tries at the same time in one session, by subagents, one may be put to another's request, which makes
neither more nor fewer failures.

Rows of a failure that no transcript tells have no `file`. Telemetry that could be sent is gone, so those are on record by
their outcome, and have no part in a rate whose answers transcripts tell.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.sessions.client_telemetry import ABORTED, Event

Row = Mapping[str, Any]
SAME_MS = 1_500
"Both are written when the try has failed, by one program, at times a millisecond apart; a busy machine is slower."
SAME_WAIT_MS = 2.0
BEGUN_MS = 2_000
"An end knows its beginning from before the client has put the request together; the asking is noted after that."
SLACK_MS = 100
NOT_KNOWN = "not known"
"A subagent that is known to be one, and not which."
SHARPER_MS = 1_000
"An age that is off by less is the same in every table."


@dataclass(slots=True)
class _Told:
    """One request's failed tries, as telemetry tells them."""

    tries: list[Event] = field(default_factory=list)
    ages_ms: list[float | None] = field(default_factory=list)
    end: Event | None = None
    askers: set[str] = field(default_factory=set)
    fell_back: bool = False
    "Whether a stream of the session was given up for a request without streaming since: that one's tries count from one."

    @property
    def outcome(self) -> str:
        """As a chain's."""
        if self.end is None:
            return "unknown"
        if self.end.kind == "answered":
            return "recovered"
        return "died" if _given_up(self.end) else "abandoned"

    @property
    def asker(self) -> str:
        """Empty where it is not known."""
        if self.end is not None and self.end.asker:
            return self.end.asker
        return next(iter(self.askers)) if len(self.askers) == 1 else ""

    @property
    def way(self) -> str:
        """How it came to be asked again: a request may have come to it in several ways, one after the other."""
        return "fallback" if self.fell_back else self.tries[0].kind

    def goes_on(self, one: Event) -> bool:
        """Whether this may be its next try."""
        last = self.tries[-1]
        return (
            one.kind == last.kind
            and not self.fell_back
            and one.attempt is not None
            and last.attempt == one.attempt - 1
            and last.at_ms + (last.wait_ms or 0.0) <= one.at_ms + SLACK_MS
        )

    def ends_in(self, end: Event) -> bool:
        """Whether this may be its end: the answer, or the giving up."""
        if end.whole_ms is not None and self.tries[0].at_ms < end.at_ms - end.whole_ms - BEGUN_MS:
            return False
        return self.way != "retry" or end.attempt is None or self.tries[-1].attempt == end.attempt - 1


@dataclass(frozen=True, slots=True)
class Alone:
    """A failure that no transcript tells."""

    at_ms: int
    session: str
    version: str
    code: str
    "Of the first try."
    tries: int
    longest_s: float | None
    "Of its tries."
    outcome: str
    request_id: str | None
    "Of a failed answer."


@dataclass(frozen=True, slots=True)
class Together:
    """Rows as the store has them."""

    error: list[dict[str, Any]]
    chain: list[dict[str, Any]]
    dead: list[dict[str, Any]]
    events: tuple[Event, ...] = ()
    "What telemetry tells, in full."
    alone: tuple[Alone, ...] = ()
    sharper: int = 0
    "Failures on record of which telemetry tells more: a status, an id, a last try, or an age that is a second off."
    aside: int = 0
    "Failed requests for titles, summaries and the like, and those of which it is not known whose they were."

    def failed_ms(self) -> dict[tuple[str, bool], list[int]]:
        """As `stalls.Failed`."""
        found: dict[tuple[str, bool], list[int]] = defaultdict(list)
        for row in (*self.error, *self.dead):
            found[row["session"], row["agent"] is not None].append(row["at_ms"])
        return {whose: sorted(times) for whose, times in found.items()}


# ----- what telemetry tells by itself


def requests_of(events: Iterable[Event]) -> dict[str, list[_Told]]:
    """Session -> its requests that failed, in order, each with its tries and its end."""
    by_session: dict[str, list[Event]] = defaultdict(list)
    for one in sorted(events, key=lambda event: event.at_ms):
        by_session[one.session].append(one)
    return {session: found for session, those in by_session.items() if (found := _followed(those))}


def _followed(events: Sequence[Event]) -> list[_Told]:
    found: list[_Told] = []
    open_: list[_Told] = []
    asked: list[Event] = []
    fell_back_ms = 0
    for one in events:
        match one.kind:
            case "asked":
                # A conversation asks one thing at a time; subagents and titles do not wait for it.
                asked = [other for other in asked if one.asker != "main" or other.asker != "main"]
                asked.append(one)
            case "fallback":
                fell_back_ms = one.at_ms
                for told in open_:
                    told.fell_back = True
            case "retry" | "again":
                mine = [told for told in open_ if told.goes_on(one)]
                begun_ms = one.at_ms - (one.took_ms or 0.0)
                if mine:
                    told = min(mine, key=lambda other: abs(_next_ms(other) - begun_ms))
                    age_ms = None if one.kind == "again" else one.at_ms - _next_ms(told)
                else:
                    told = _Told(askers={other.asker for other in asked})
                    found.append(told)
                    open_.append(told)
                    age_ms = None
                    if len(asked) == 1 and one.attempt == 1:
                        age_ms = one.at_ms - max(asked[0].at_ms, fell_back_ms)
                told.tries.append(one)
                told.ages_ms.append(one.took_ms if one.took_ms is not None else age_ms and max(age_ms, 0.0))
            case "answered" | "gave up":
                mine = [told for told in open_ if told.ends_in(one)]
                for way in ("retry", "again", "fallback"):
                    ours = [told for told in mine if told.way == way]
                    if ours:
                        told = min(ours, key=lambda other: abs(_begun_ms(other) - _asked_ms(one)))
                        told.end = one
                        open_.remove(told)
                if not mine and _given_up(one):
                    found.append(_Told(end=one))
                answered = [other for other in asked if other.asker == one.asker]
                if answered:
                    asked.remove(min(answered, key=lambda other: abs(other.at_ms - _asked_ms(one))))
            case "cancelled":
                for told in open_:
                    told.end = one
                open_.clear()
                asked = [other for other in asked if other.asker != "main"]
            case _:
                pass
    return found


def _given_up(end: Event) -> bool:
    """Whether the client gave up, as opposed to its user."""
    return end.kind == "gave up" and end.error_type != ABORTED


def _next_ms(told: _Told) -> float:
    """When its next try began, or begins."""
    last = told.tries[-1]
    return last.at_ms + (last.wait_ms or 0.0)


def _begun_ms(told: _Told) -> float:
    return told.tries[0].at_ms - (told.ages_ms[0] or 0.0)


def _asked_ms(end: Event) -> float:
    return end.at_ms - (end.whole_ms or 0.0)


# ----- both together


def together(
    errors: Iterable[Row],
    chains: Iterable[Row],
    dead: Iterable[Row],
    requests: Iterable[Row],
    events: Sequence[Event],
) -> Together:
    """The rows of transcripts with what telemetry adds. `requests` need not be more than those of its sessions."""
    joining = _Joining(errors, chains, dead, requests)
    for session, found in requests_of(events).items():
        for told in found:
            joining.add(session, told)
    return joining.done(events)


class _Joining:
    def __init__(
        self, errors: Iterable[Row], chains: Iterable[Row], dead: Iterable[Row], requests: Iterable[Row]
    ) -> None:
        self.errors = [dict(row) for row in errors]
        self.chains = {row["chain"]: dict(row) for row in chains}
        self.dead = [dict(row) for row in dead]
        self.by_session: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in self.errors:
            self.by_session[row["session"]].append(row)
        self.ends: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in self.dead:
            self.ends[row["session"]].append(row)
        self.with_tries = {
            (row["session"], row["ended_ms"]) for row in self.chains.values() if row["outcome"] == "died"
        }
        self.answers: dict[str, list[Row]] = defaultdict(list)
        self.by_id: dict[str, Row] = {}
        "Request id -> its answer."
        for answer in sorted(requests, key=lambda one: int(one["at_ms"])):
            self.answers[answer["session"]].append(answer)
            if answer["request_id"] is not None:
                self.by_id[answer["request_id"]] = answer
        self.taken: set[str] = set()
        self.sharpened: set[str] = set()
        self.alone: list[Alone] = []
        self.aside = 0

    def done(self, events: Sequence[Event]) -> Together:
        self.errors.sort(key=lambda row: (row["at_ms"], row["uuid"]))
        chains = list(self.chains.values())
        return Together(
            self.errors,
            chains,
            self.dead,
            tuple(events),
            tuple(self.alone),
            len(self.sharpened),
            self.aside,
        )

    def add(self, session: str, told: _Told) -> None:
        """One request that failed."""
        known = [self._on_record(session, one) for one in told.tries]
        chain = next((self.chains.get(row["chain"]) for row in known if row is not None), None)
        turn = told.asker in ("main", "agent")
        if chain is None and not turn:
            self.aside += 1
            return
        end = None
        if turn and told.end is not None and _given_up(told.end):
            end = self._death(session, told.end)
        if end is not None and told.end is not None:
            self._sharpen_end(end, told.end, chain["chain"] if chain is not None else end["uuid"])
        if chain is not None:
            self._complete(session, chain, told, known)
            self._close(chain, told, end)
        elif end is None or (session, end["at_ms"]) not in self.with_tries:
            self._new(session, told, end)

    # -- what is on record

    def _on_record(self, session: str, one: Event) -> dict[str, Any] | None:
        """The transcript's record of this try."""
        same = [
            row
            for row in self.by_session.get(session, ())
            if row["uuid"] not in self.taken
            and abs(row["at_ms"] - one.at_ms) <= SAME_MS
            and row["attempt"] in (None, one.attempt)
            and (
                row["wait_ms"] is None
                or one.wait_ms is None
                or abs(row["wait_ms"] - one.wait_ms) <= SAME_WAIT_MS
            )
        ]
        if not same:
            return None
        found = min(same, key=lambda row: abs(int(row["at_ms"]) - one.at_ms))
        self.taken.add(found["uuid"])
        return found

    def _death(self, session: str, end: Event) -> dict[str, Any] | None:
        """The transcript's record of this giving up."""
        same = [
            row
            for row in self.ends.get(session, ())
            if row["uuid"] not in self.taken and abs(row["at_ms"] - end.at_ms) <= SAME_MS
        ]
        if not same:
            return None
        found = min(same, key=lambda row: abs(int(row["at_ms"]) - end.at_ms))
        self.taken.add(found["uuid"])
        return found

    def _sharpen_end(self, row: dict[str, Any], end: Event, failure: str) -> None:
        for name, value in (("status", end.status), ("request_id", end.request_id)):
            if row[name] is None and value is not None:
                row[name] = value
                self.sharpened.add(failure)

    def _waited(self, session: str, chain: str, attempt: int | None) -> float:
        """The wait before this try of a chain on record."""
        for row in self.by_session.get(session, ()):
            if row["chain"] == chain and attempt is not None and row["attempt"] == attempt - 1:
                return row["wait_ms"] or 0.0
        return 0.0

    def _complete(
        self, session: str, chain: dict[str, Any], told: _Told, known: Sequence[dict[str, Any] | None]
    ) -> None:
        """A failure that is on record: its tries told better, and those that are missing."""
        name = chain["chain"]
        waited = self._waited(session, name, told.tries[0].attempt)
        for one, age_ms, row in zip(told.tries, told.ages_ms, known, strict=True):
            if row is None:
                base = next(other for other in known if other is not None)
                self.errors.append({**base, **_try(one, age_ms, waited), "chain": name})
                chain["tries"] += 1
                self.sharpened.add(name)
            else:
                self._sharpen(row, one, age_ms, waited, name)
            waited = one.wait_ms or 0.0

    def _close(self, chain: dict[str, Any], told: _Told, end: dict[str, Any] | None) -> None:
        """An end that the transcript left open, as that of a copy which was made meanwhile; `end` is its own giving up.

        The giving up is no further try, as it is none where a transcript tells it.
        """
        if chain["outcome"] == "unknown" and told.end is not None:
            chain["outcome"] = told.outcome
            chain["ended_ms"] = end["at_ms"] if end is not None else told.end.at_ms
            self.sharpened.add(chain["chain"])

    def _sharpen(
        self, row: dict[str, Any], one: Event, age_ms: float | None, waited: float, chain: str
    ) -> None:
        if row["request_id"] is None and one.request_id is not None:
            row["request_id"] = one.request_id
            self.sharpened.add(chain)
        if row["code"] == "unknown" and one.failed_code != "unknown":
            row["code"], row["status"] = one.failed_code, one.status
            self.sharpened.add(chain)
        if age_ms is not None:
            before_ms = round(row["at_ms"] - age_ms - waited)
            if row["before_ms"] is None or abs(row["before_ms"] - before_ms) >= SHARPER_MS:
                self.sharpened.add(chain)
            row["before_ms"] = before_ms

    # -- what is not

    def _new(self, session: str, told: _Told, end: dict[str, Any] | None) -> None:
        """A failure without a try on record, or none at all."""
        tries = told.tries or ([told.end] if told.end is not None else [])
        ages = told.ages_ms if told.tries else [tries[0].took_ms]
        first = tries[0]
        answer = self.by_id.get(told.end.request_id or "") if told.end is not None else None
        where: Row | None = end or answer or self._conversation(session, told.asker, first.at_ms)
        name = end["uuid"] if end is not None else first.id
        before = self._before(where, first.at_ms)
        base: dict[str, Any] = {
            "session": session,
            "agent": where["agent"] if where is not None else NOT_KNOWN if told.asker == "agent" else None,
            "version": first.version or (where["version"] if where is not None else ""),
            "project": where["project"] if where is not None else "",
            "entrypoint": None,
            "error_type": None,
            "edge_id": None,
            "path": None,
            "max_attempts": None,
            "model": before["model"] if before is not None else first.model or None,
            "context_tokens": before["context_tokens"] if before is not None else None,
            "file": end["file"] if end is not None else None,
            "line": None,
            "scan": None,
        }
        waited = 0.0
        for one, age_ms in zip(tries, ages, strict=True):
            row = {**base, **_try(one, age_ms, waited), "chain": name}
            self.errors.append({**row, "uuid": name} if one is first else row)
            waited = one.wait_ms or 0.0
        ended: Row | None = end or answer
        self.chains[name] = {
            "chain": name,
            "session": session,
            "agent": base["agent"],
            "tries": len(tries),
            "outcome": told.outcome,
            "ended_ms": ended["at_ms"] if ended is not None else told.end.at_ms if told.end else None,
            "file": base["file"],
            "scan": None,
        }
        if end is not None:
            self.sharpened.add(name)
            return
        known = [age for age in ages if age is not None]
        ids = [one.request_id for one in tries if one.request_id is not None]
        self.alone.append(
            Alone(
                first.at_ms,
                session,
                base["version"],
                first.failed_code,
                len(tries),
                round(max(known) / 1000, 1) if known else None,
                told.outcome,
                ids[-1] if ids else None,
            )
        )

    def _conversation(self, session: str, asker: str, at_ms: int) -> Row | None:
        """An answer of the main conversation; of subagents, which one asked is not known."""
        mine = (
            [row for row in self.answers.get(session, ()) if row["agent"] is None] if asker == "main" else []
        )
        place = bisect_right([row["at_ms"] for row in mine], at_ms)
        return mine[max(place - 1, 0)] if mine else None

    def _before(self, where: Row | None, at_ms: int) -> Row | None:
        """The conversation's last answer before."""
        if where is None:
            return None
        mine = [
            row
            for row in self.answers.get(where["session"], ())
            if row["agent"] == where["agent"] and row["at_ms"] < at_ms
        ]
        return mine[-1] if mine else None


def _try(one: Event, age_ms: float | None, waited: float) -> dict[str, Any]:
    """The part of a row that a try tells."""
    return {
        "uuid": one.id,
        "at_ms": one.at_ms,
        "before_ms": None if age_ms is None else round(one.at_ms - age_ms - waited),
        "code": one.failed_code,
        "status": one.status,
        "request_id": one.request_id,
        "attempt": one.attempt,
        "wait_ms": one.wait_ms,
    }
