"""HTTP/2 itself ended or held up streams: GOAWAY, RST_STREAM, flow control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.diagnosis.case import Case, Failure, Trip
from holdfast.diagnosis.hypothesis import Brief, Evidence, Hypothesis
from holdfast.flight.endings import Mechanism
from holdfast.flight.flights import counted

SAID = 1000.0
"""Of an end that HTTP/2 has a frame for, against the same end without one. It says how, and less surely why: an edge that
restarts sends GOAWAY as well, so it is no word for the cause (those get a million)."""
STUCK = 5.0
"""Of a silent stream on a connection that answers PINGs: half of what flow control holds up looks so, and a tenth of what
breaks otherwise, since a model that thinks is silent too."""
QUIET_S = 60.0
OTHERWISE = 0.1
"Of a stream of HTTP/2 that broke with its connection: TCP did it."
FRAMES = frozenset({Mechanism.GOAWAY, Mechanism.STREAM_RESET})


class Http2(Hypothesis):
    """Streams share a connection, and its rules end or hold up what a connection of its own would carry: GOAWAY ends all
    streams of a connection at once, RST_STREAM ends one, and where the window is full, nothing moves though all is well.

    It predicts: ends by GOAWAY or RST_STREAM with a code, several streams at the same second, or streams that are silent
    on a connection whose PINGs are answered; and none of it over HTTP/1.1, to the same edge, on the same day. A client's
    own logs do not tell by which HTTP it spoke: it needs a flight, a log or a capture.
    """

    name = "http2"
    title = "HTTP/2 ended or held up streams, by its own frames"
    remedy = "Speak HTTP/1.1: holdfast run --no-http2 (the default), one connection per stream."
    falsifier = "the same requests over HTTP/1.1, on the same days, break as often"
    rivals: ClassVar[Mapping[str, str]] = {
        "fixed-limit": "holdfast run --no-http2 for a day: does the same age end requests over HTTP/1.1?",
        "silence-limit": "holdfast run --no-http2 for a day: does the same silence end requests over HTTP/1.1?",
    }

    def ratios(self, case: Case) -> Sequence[float]:
        return [_ratio(case, failure) for failure in case.failures]

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        trips = [one for failure in mine for one in case.trips_of.get(failure.id, ())]
        codes = Counter(one.said or "no code" for one in trips if one.mechanism in FRAMES)
        pro = []
        if codes:
            listed = ", ".join(f"{code} {count}" for code, count in codes.most_common(4))
            pro.append(
                Evidence(
                    f"{counted(codes.total(), 'attempt')} ended by GOAWAY or RST_STREAM ({listed}).",
                    "flights",
                )
            )
        stuck = sum(_stuck(one) for one in trips)
        if stuck:
            said = f"{counted(stuck, 'stream')} were silent for over a minute while PINGs were answered."
            pro.append(Evidence(said, "flights"))
        told = sum(failure.id not in case.trips_of for failure in mine)
        if told:
            pro.append(
                Evidence(f"{counted(told, 'failure')} ended so by what another log says.", "added files")
            )
        con = list[Evidence]()
        plain = [one for one in case.trips if one.http == "1.1"]
        if plain:
            broke = sum(one.broke for one in plain)
            text = f"Over HTTP/1.1 {broke} of {counted(len(plain), 'attempt')} broke."
            (con if broke * 10 > len(plain) else pro).append(Evidence(text, "flights"))
        else:
            con.append(Evidence("Nothing went over HTTP/1.1 to compare it with.", "flights"))
        settle = "holdfast run --no-http2 for a week (holdfast mark 'HTTP/1.1'), then: holdfast diagnose"
        return Brief(tuple(pro), tuple(con), settle)


def _stuck(one: Trip) -> bool:
    return (
        one.http == "2"
        and one.mechanism not in FRAMES
        and one.pings_answered is True
        and (one.silence_s or 0.0) >= QUIET_S
    )


def _ratio(case: Case, failure: Failure) -> float:
    if failure.statuses:
        return 0.0
    trips = case.trips_of.get(failure.id, ())
    ends = [one.mechanism for one in trips] + [one.mechanism for one in case.seen.get(failure.id, ())]
    if FRAMES & set(ends):
        return SAID
    known = [one for one in trips if one.http is not None]
    if not known:
        return 1.0
    if all(one.http != "2" for one in known):
        return 0.0
    return STUCK if any(map(_stuck, known)) else OTHERWISE
