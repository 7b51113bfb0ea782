"""What the machine's own logs tell, made part of what is beside a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from holdfast.diagnosis.beside import Beside
from holdfast.diagnosis.case import Coverage, Span
from holdfast.flight.flights import counted
from holdfast.sessions import systemlog
from holdfast.sessions.machine import Machine
from holdfast.sessions.systemlog import SystemLog

LINK_LOGS = frozenset({"journal", "log show"})
"Logs whose silence says that the link stayed; that of sleep says nothing of it."


def beside(what: Beside, machine: Machine) -> Beside:
    """The same with this machine's outages, sleeps, times covered, and tables of now and of what was not told."""
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
    if log.source in LINK_LOGS:
        away = sum("offline" in one.kinds for one in outages)
        told += f", {counted(away, 'outage')} and {counted(len(outages) - away, 'change')} of the link"
        if log.source == "journal" and (strained := len(systemlog.strains(log.events))):
            told += f", {counted(strained, 'strain')} of the machine"
    told += f", {counted(len(asleep), 'sleep')}"
    unread = [f"{log.dirt} that could not be read"] if log.dirt else []
    if log.left_out:
        unread.append(f"{log.left_out} events left out, being so many")
    if not verified:
        told += " (how it is read was not verified on a Mac)"
    return Coverage(log.source, told, log.first_ms, log.last_ms, tuple(unread))
