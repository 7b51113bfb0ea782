"""A home whose gateway was a real one: its turns are those of the lab's plays, on real sockets, told anew at other times."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from holdfast.cli.lab import settings_from
from holdfast.flight import moments as m
from holdfast.flight.endings import Ending
from holdfast.flight.record import TurnRecord
from holdfast.lab.endings import CATALOGUE, Over
from holdfast.lab.stage import Play
from tests.diagnosis.homes import Exchange, how
from tests.diagnosis.homes_flights import at

ROWS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "": (("well",), ("well",)),
    "rst": (("rst-before-headers",), ("rst-in-text", "rst-in-tool", "rst-in-thinking")),
    "fin": (("fin-before-headers",), ("fin-in-text", "fin-in-tool")),
    "goaway": (("goaway-before-headers",), ("goaway-in-text",)),
    "rst_stream": (("rst-stream-before-headers",), ("rst-stream-in-tool",)),
    "status": (("http-529",), ("http-529",)),
    "dns": (("no-such-name",), ("no-such-name",)),
    "refused": (("connection-refused",), ("connection-refused",)),
    "left": (("client-gives-up", "client-resets-before-headers"), ("client-resets-in-text",)),
}
"How a connection ends -> the plays in which it does, before an answer and within it."
AT_THE_END = (m.AttemptEnded, m.ReaderLeft, m.AnswerFinished, m.AnswerHeard, m.UpstreamStopped, m.TurnEnded)


async def played(place: Path) -> dict[str, TurnRecord]:
    """Every row played once, all at the same time, through a gateway each."""
    names = sorted({name for both in ROWS.values() for rows in both for name in rows})
    plays = {name: Play(CATALOGUE[name], Over.PLAIN, place / name, settings_from) for name in names}
    await asyncio.gather(*(play.run() for play in plays.values()))
    found = {}
    for name, play in plays.items():
        assert play.record is not None, name
        found[name] = play.record
    return found


class Retold:
    """Writes a home's turns from those of the lab."""

    def __init__(self, records: Mapping[str, TurnRecord]) -> None:
        self.records = records

    def __call__(self, one: Exchange, number: int, draw: random.Random) -> TurnRecord:
        """A turn that ended as this try did; what was measured of it is the lab's, its times are the try's."""
        way = how(one.blow) if one.blow is not None else "left" if one.cancelled else ""
        took_s = (one.ended_ms - one.ask.at_ms) / 1000
        told = self.records[draw.choice(ROWS[way][took_s > one.ask.silent_s])]
        begun = told.started.mono_s
        ended = at(one, took_s)
        moments = []
        for when, moment in told.moments:
            seconds = took_s if isinstance(moment, AT_THE_END) else min(when.mono_s - begun, took_s)
            if isinstance(moment, m.FirstEventArrived):
                seconds = min(one.ask.silent_s, took_s)
            moments.append((at(one, seconds), _aged(moment, took_s, one.ask.silent_s)))
        return msgspec.structs.replace(
            told,
            turn_id=f"t{one.ask.at_ms:013d}{number:05d}",
            started=at(one, 0),
            ended=ended,
            ending=_of_age(told.ending, took_s, one.ask.silent_s) if told.ending else None,
            session=one.session,
            subagent=one.agent,
            request_id=one.request_id if told.request_id else None,
            longest_quiet_s=min(one.ask.silent_s, took_s),
            request_bytes=one.ask.context * 4,
            moments=moments,
        )


def _aged(moment: m.Moment, took_s: float, silent_s: float) -> m.Moment:
    if isinstance(moment, m.AttemptEnded | m.ReaderLeft | m.TurnEnded):
        return msgspec.structs.replace(moment, ending=_of_age(moment.ending, took_s, silent_s))
    return moment


def _of_age(ending: Ending, took_s: float, silent_s: float) -> Ending:
    """The lab has no time to wait: its clocks are set to the try's."""
    evidence = dict(ending.evidence)
    if "silence_s" in evidence and took_s < silent_s:
        evidence["silence_s"] = round(took_s, 3)
    if "since_request_s" in evidence:
        evidence["since_request_s"] = round(took_s, 3)
    return replace(ending, evidence=evidence)
