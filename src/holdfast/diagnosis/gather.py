"""Rows of sources made a case. Values in, values out; missing times stay missing."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.diagnosis.case import Answer, Case, Cycle, Failure, Span, Try
from holdfast.sessions.desktop import LOCAL, MERGED_S, DesktopLog, Note, Outage, outages

Row = Mapping[str, Any]
End = tuple[str, str | None, int]
"Session, subagent, and when it gave up."

BEYOND = ("name", "timeout")
"Lines of the desktop log that tell of a network that is away behind the router, where none tells that the link is."


def case(
    errors: Iterable[Row],
    chains: Iterable[Row],
    dead: Iterable[Row],
    requests: Iterable[Row],
    desktop: Iterable[DesktopLog] = (),
) -> Case:
    """A case from the rows of transcripts (as `sessions.facts` describes them) and from the desktop app's logs."""
    chains = list(chains)
    came = {
        (row["session"], row["agent"], row["ended_ms"]) for row in chains if row["outcome"] == "recovered"
    }
    answers = sorted(
        (
            Answer(
                row["at_ms"],
                row["session"],
                row["version"],
                row["context_tokens"],
                row.get("agent"),
                row.get("before_ms"),
                (row["session"], row.get("agent"), row["at_ms"]) in came,
            )
            for row in requests
        ),
        key=lambda one: (one.at_ms, one.session),
    )
    heard: dict[str, list[int]] = defaultdict(list)
    for answer in answers:
        heard[answer.session].append(answer.at_ms)
    tries: dict[str, list[Row]] = defaultdict(list)
    for row in errors:
        tries[row["chain"]].append(row)
    ends = {(row["session"], row["agent"], row["at_ms"]): row for row in dead}
    failures = [
        _failure(row, sorted(tries[row["chain"]], key=lambda one: (one["at_ms"], one["uuid"])), ends, heard)
        for row in chains
        if tries.get(row["chain"])
    ]
    failures += [_gave_up(row, heard) for row in ends.values()]
    logs = list(desktop)
    return Case(
        failures=sorted(failures, key=lambda one: (one.at_ms, one.id)),
        answers=answers,
        outages=[outage for log in logs for outage in _outages(log.notes)],
        watched=[Span(*span) for log in logs for span in log.spans],
        cycles=[
            Cycle(note.at_ms, note.took_s, bool(note.answered))
            for log in logs
            for note in log.notes
            if note.took_s is not None
        ],
    )


def _outages(notes: Sequence[Note]) -> list[Outage]:
    """Those of the machine's own link, and apart from them those beyond it: a lone timeout makes no flap longer."""
    near = [one for one in outages(notes, LOCAL) if one.kinds - set(BEYOND)]
    far = [
        one
        for one in outages(notes, BEYOND)
        if not any(
            other.begun_ms - MERGED_S * 1000 <= one.ended_ms
            and one.begun_ms <= other.ended_ms + MERGED_S * 1000
            for other in near
        )
    ]
    return sorted(near + far, key=lambda one: one.begun_ms)


def _failure(chain: Row, rows: list[Row], ends: dict[End, Row], heard: Mapping[str, list[int]]) -> Failure:
    first, waited, made = rows[0], 0.0, []
    for row in rows:
        age = None
        if row["before_ms"] is not None:
            age = max((row["at_ms"] - row["before_ms"] - waited) / 1000, 0.0)
        made.append(
            Try(row["at_ms"], age, row["code"], row["status"], row.get("request_id"), row.get("edge_id"))
        )
        waited = row["wait_ms"] or 0.0
    end = (
        ends.pop((chain["session"], chain["agent"], chain["ended_ms"]), None)
        if chain["outcome"] == "died"
        else None
    )
    return Failure(
        id=chain["chain"],
        tries=tuple(made),
        outcome=chain["outcome"],
        at_ms=first["at_ms"],
        ended_ms=chain["ended_ms"],
        session=first["session"],
        version=first["version"],
        model=first["model"],
        project=first["project"],
        context_tokens=first["context_tokens"],
        idle_s=_idle_s(heard.get(first["session"], []), first["before_ms"]),
        text=end["text"] if end is not None else "",
        agent=first["agent"],
        request_id=end.get("request_id") if end is not None else None,
        end_status=end.get("status") if end is not None else None,
        end_code=end.get("code") or "" if end is not None else "",
        on_record=chain["file"] is not None,
    )


def _gave_up(row: Row, heard: Mapping[str, list[int]]) -> Failure:
    return Failure(
        id=row["uuid"],
        tries=(),
        outcome="died",
        at_ms=row["at_ms"],
        ended_ms=row["at_ms"],
        session=row["session"],
        version=row["version"],
        model=row["model"],
        project=row["project"],
        context_tokens=row["context_tokens"],
        idle_s=_idle_s(heard.get(row["session"], []), row["before_ms"]),
        text=row["text"],
        agent=row["agent"],
        request_id=row.get("request_id"),
        end_status=row.get("status"),
        end_code=row.get("code") or "",
    )


def _idle_s(answers: list[int], begun_ms: int | None) -> float | None:
    """From the conversation's last answer to the request's begin; None where either is not known."""
    if begun_ms is None:
        return None
    before = bisect_right(answers, begun_ms)
    return (begun_ms - answers[before - 1]) / 1000 if before else None
