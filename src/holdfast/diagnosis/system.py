"""What the machine's own logs tell, made part of what is beside a case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import Any

from holdfast.diagnosis.beside import Beside
from holdfast.diagnosis.case import Coverage, Span
from holdfast.flight.flights import counted
from holdfast.records import times
from holdfast.sessions import systemlog
from holdfast.sessions.machine import Machine
from holdfast.sessions.systemlog import SystemLog

LINK_LOGS = frozenset({"journal", "log show"})
"Logs whose silence says that the link stayed; that of sleep says nothing of it, nor one that somebody may have cut."
MOST_SAVED = 200_000
"Lines of a log that was saved."


def beside(what: Beside, machine: Machine) -> Beside:
    """The same with the machine's outages, sleeps, times covered, and tables of now and of what was not told."""
    events = [event for log in machine.logs for event in log.events]
    outages = systemlog.outages(events)
    asleep = [Span(*one) for one in systemlog.sleeps(events)]
    strains = [Span(*one) for one in systemlog.strains(events)]
    covered = [_covered(log, machine.verified) for log in machine.logs]
    missed = tuple(f"{one.line}: {one.why}" for one in machine.untold if one.ranking.startswith("yes"))
    if missed or not machine.logs:
        covered.append(Coverage("system log", "not all of it" if machine.logs else "none", unreadable=missed))
    tables: dict[str, Sequence[Mapping[str, Any]]] = {}
    refused = []
    if machine.shown:
        tables["link now"] = [one._asdict() for one in machine.shown]
        refused.append(
            "How the link is now tells nothing of the failures' times: it is shown, and weighs nothing."
        )
    if machine.untold:
        tables["commands"] = [
            {"line": one.line, "why": one.why, "could_change_the_ranking": one.ranking}
            for one in machine.untold
        ]
    return replace(
        what,
        outages=(*what.outages, *outages),
        watched=(*what.watched, *_watched(machine.logs)),
        sleeps=(*what.sleeps, *asleep),
        strains=(*what.strains, *strains),
        covered=(*what.covered, *covered),
        tables={**what.tables, **tables},
        refused=(*what.refused, *refused),
    )


def saved(
    source: str, lines: Iterable[str], zone: tzinfo, near_s: float, ahead_s: float = 0.0
) -> SystemLog | None:
    """A system's log that somebody saved: of `journalctl`, as text or JSON, or of `dmesg -T`. None where it tells nothing.

    Times without a zone are the machine's own, of `zone`; a year that is not written is that of `near_s`. `ahead_s`: how far
    its clock is ahead of ours.
    """
    kept = list(islice(lines, MOST_SAVED))
    found = list(systemlog.journal_lines(kept))
    if all(at_ms is None for at_ms, _ in found):
        found = list(_timed(kept, zone, near_s))
    ahead_ms = round(ahead_s * 1000)
    log = systemlog.saved(
        source, ((None if at_ms is None else at_ms - ahead_ms, text) for at_ms, text in found)
    )
    return log if log.events else None


def _timed(lines: Sequence[str], zone: tzinfo, near_s: float) -> Iterator[tuple[int | None, str]]:
    for line in lines:
        found = times.leading(line, near_s)
        stamp = found[0] if found is not None and found[0].dated else None
        if found is None or stamp is None:
            yield None, line
            continue
        at_s = stamp.at_s
        if not stamp.zone_known:
            at_s = datetime.fromtimestamp(at_s, UTC).replace(tzinfo=zone).timestamp()
        yield round(at_s * 1000), line[found[1] :]


def _watched(logs: Sequence[SystemLog]) -> list[Span]:
    """From a log's first line to its last: before and after, nobody knows whether it was kept."""
    return [
        Span(log.first_ms, log.last_ms)
        for log in logs
        if log.source in LINK_LOGS and log.first_ms is not None and log.last_ms is not None
    ]


def _covered(log: SystemLog, verified: bool) -> Coverage:
    outages, asleep = systemlog.outages(log.events), systemlog.sleeps(log.events)
    told = f"{counted(log.lines, 'line')}"
    if log.source != "pmset":
        away = sum("offline" in one.kinds for one in outages)
        told += f", {counted(away, 'outage')} and {counted(len(outages) - away, 'change')} of the link"
        if strained := len(systemlog.strains(log.events)):
            told += f", {counted(strained, 'strain')} of the machine"
    told += f", {counted(len(asleep), 'sleep')}"
    unread = [f"{log.dirt} that could not be read"] if log.dirt else []
    if log.left_out:
        unread.append(f"{log.left_out} events left out, being so many")
    if not verified:
        told += " (how it is read was not verified on a Mac)"
    return Coverage(log.source, told, log.first_ms, log.last_ms, tuple(unread))
