"""What transcripts do not say of themselves: stalls without an error, what each version leaves out, what telemetry adds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.diagnosis.case import Coverage
from holdfast.diagnosis.titles import the_table
from holdfast.flight.flights import counted
from holdfast.flight.plain_files import only_files
from holdfast.flight.redact import clean
from holdfast.sessions import client_telemetry, debug, logs_what, stalls
from holdfast.sessions.client_telemetry import Event
from holdfast.sessions.store import Store, Used
from holdfast.sessions.tries import Alone, Together


@dataclass(frozen=True, slots=True)
class Unsaid:
    """For the report."""

    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    covered: tuple[Coverage, ...]
    refused: tuple[str, ...]
    logs: Mapping[tuple[str, str], str] = field(default_factory=dict)
    "As a case has them."


def unsaid(
    store: Store,
    both: Together | None,
    directories: Sequence[Path],
    since_ms: int | None = None,
    until_ms: int | None = None,
    unread_telemetry: Sequence[tuple[Path, str]] = (),
) -> Unsaid:
    """Look into what was read of the transcripts and of telemetry, and into the debug logs beside them.

    `both`: what the two tell of failures together; None where there is no telemetry.
    """

    def meanwhile(at_ms: int) -> bool:
        return (since_ms is None or at_ms >= since_ms) and (until_ms is None or at_ms < until_ms)

    least_ms = round(stalls.SILENT_S * 1000)
    sessions = store.versions()
    answers = Counter[str]()
    for used in sessions:
        answers[used.version] += used.answers
    logs, unread = _debug(directories)
    events = both.events if both is not None else ()
    unfinished, usual = stalls.of_unfinished(store.unfinished(), answers)
    failed = store.failed_ms() if both is None else both.failed_ms()
    found = [
        *stalls.of_waits(store.waits(least_ms), failed),
        *stalls.of_ends(store.ends(least_ms), failed),
        *unfinished,
        *stalls.of_debug(
            [*(note for log in logs for note in log.notes), *client_telemetry.notes(events)],
            {one.session: one.version for one in events} | {used.session: used.version for used in sessions},
            failed,
        ),
    ]
    found = [one for one in stalls.merged(found) if meanwhile(one.at_ms)]
    tables: dict[str, Sequence[Mapping[str, Any]]] = {}
    refused = []
    if found:
        tables["stalls"] = stalls.rows(found)
    if broken := [one for one in found if one.kind == stalls.BROKEN]:
        verb = "is" if len(broken) == 1 else "are"
        refused.append(
            f"{counted(len(broken), 'broken stream')} {verb} told by the client itself, which asked again or kept what had "
            "come: counted as no failure, and put to no cause. Who ended the connection only a flight or a capture tells."
        )
    if found := [one for one in found if one.kind != stalls.BROKEN]:
        kinds = Counter(one.kind for one in found)
        told = ", ".join(f"{kinds[kind]} {kind}" for kind in sorted(kinds))
        verb = "is" if len(found) == 1 else "are"
        own = sum(kinds[kind] for kind in stalls.OWN_WORDS)
        ways = ["inferred from times"] if own < len(found) else []
        how = " or ".join([*ways, *(["told by the client itself"] if own else [])])
        refused.append(
            f"{counted(len(found), 'stall')} without an error record ({told}) {verb} {how}, counted as no "
            "failure, and put to no cause: which side was silent only a flight or a capture tells."
        )
        refused += [
            f"A stall of the kind '{kind}' cannot tell {next(one.cannot_tell for one in found if one.kind == kind)}."
            for kind in sorted(kinds)
        ]
    if usual:
        refused.append(
            f"Answers without a stop reason are usual in version {', '.join(map(clean, usual[:5]))}, so that none is taken "
            "for broken."
        )
    alone = [one for one in both.alone if meanwhile(one.at_ms)] if both else []
    if alone:
        tables["told by telemetry"] = _rows(alone)
        are = "is" if len(alone) == 1 else "are"
        refused.append(
            f"{counted(len(alone), 'failure')} {are} told by the client's telemetry alone, which is kept only where it "
            "could not be sent: of versions and modes that log no failed try, times with a bad network have more of their "
            "failures on record than others, and all have fewer than there were."
        )
    cells = _cells(sessions)
    if cells:
        tables["client logs"] = cells
    return Unsaid(
        tables,
        (*_about(logs, unread), *_hidden(cells), *_unsent(store, events, both, unread_telemetry)),
        tuple(refused),
        {(used.session, used.version): logs_what.on_record(used.version, _mode(used)) for used in sessions},
    )


def _mode(used: Used) -> logs_what.Mode:
    return logs_what.mode_of(
        used.version, turn_times=used.turn_times, tries=used.tries, entrypoints=used.entrypoints
    )


def _cells(sessions: Sequence[Used]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, logs_what.Mode], list[int]] = defaultdict(list)
    for used in sessions:
        groups[used.version, _mode(used)].append(used.answers)
    return logs_what.told(
        [(version, mode, len(counts), sum(counts)) for (version, mode), counts in groups.items()]
    )


def _hidden(cells: Sequence[Mapping[str, Any]]) -> list[Coverage]:
    said = logs_what.sentences(cells)
    more = f"; and {len(said) - 6} more ({the_table('client logs')})" if len(said) > 6 else ""
    return [Coverage("client logs", "; ".join(clean(one) for one in said[:6]) + more)] if said else []


def _rows(alone: Sequence[Alone]) -> list[dict[str, Any]]:
    return [
        {
            "at_ms": one.at_ms,
            "version": one.version,
            "code": one.code,
            "tries": one.tries,
            "longest_s": one.longest_s,
            "outcome": one.outcome,
            "request_id": one.request_id,
            "session": one.session,
        }
        for one in sorted(alone, key=lambda one: one.at_ms)
    ]


def _unsent(
    store: Store, events: Sequence[Event], both: Together | None, unread: Sequence[tuple[Path, str]]
) -> list[Coverage]:
    """The client's own telemetry, as far as it lies in files: only what could not be sent does."""
    found = store.unsent()
    if not found and not unread:
        return []
    dirt = sum((one.dirt for one in found), Counter[str]())
    not_read = [f"{counted(count, 'line')} {kind}" for kind, count in dirt.most_common()]
    not_read += [f"{path.name}: {why}" for path, why in unread]
    total = sum(one.lines for one in found)
    told = (
        f"{counted(len(found), 'file')} with {counted(total, 'event')} that the client could not send, {len(events)} of "
        "them about requests"
    )
    if left := sum(one.left_out for one in found):
        told += f"; {left} more were not looked at"
    answered = sum(one.kind == "answered" for one in events)
    if answered:
        told += (
            f"; its collector was out of reach while {counted(answered, 'request')} got an answer, which may be a filter's "
            "doing as well as an outage"
        )
    if both is not None and both.sharper:
        told += f"; it tells more of {counted(both.sharper, 'failure')}"
    if both is not None and both.aside:
        are = "is" if both.aside == 1 else "are"
        told += f"; {counted(both.aside, 'failed request')} of no turn {are} counted as no failure"
    return [
        Coverage(
            client_telemetry.SOURCE,
            told,
            min((one.first_ms for one in found if one.first_ms is not None), default=None),
            max((one.last_ms for one in found if one.last_ms is not None), default=None),
            tuple(clean(one) for one in not_read),
        )
    ]


def _debug(directories: Sequence[Path]) -> tuple[list[debug.DebugLog], list[str]]:
    logs, unread, found = [], [], list[Path]()
    for root in directories:
        try:
            found += debug.logs(root)
        except OSError as error:
            unread.append(f"{clean(str(root / 'debug'))}: {error.strerror}")
    for path in found:
        try:
            with open(path, encoding="utf-8", errors="replace", opener=only_files) as lines:
                log = debug.read(lines, path.stem)
            logs.append(log)
            if not log.lines:
                unread.append(
                    f"{clean(path.name)}: no line begins with a time, so it is no debug log of the client's"
                )
        except OSError as error:
            unread.append(f"{clean(path.name)}: {error.strerror}")
    return logs, unread


def _about(logs: Sequence[debug.DebugLog], unread: Sequence[str]) -> list[Coverage]:
    lines = sum(log.lines for log in logs)
    if not lines:
        return [
            Coverage(
                "debug log",
                "none: the client writes one only where it was asked to",
                None,
                None,
                tuple(unread),
            )
        ]
    first = min(log.first_ms for log in logs if log.first_ms is not None)
    last = max(log.last_ms for log in logs if log.last_ms is not None)
    left = sum(log.left_out for log in logs)
    notes = sum(len(log.notes) for log in logs)
    told = f"{counted(lines, 'line')} of {counted(len(logs), 'session')}, {notes} of them about the wire"
    if left:
        told += f"; {left} more were not looked at"
    return [Coverage("debug log", told, first, last, tuple(unread))]
