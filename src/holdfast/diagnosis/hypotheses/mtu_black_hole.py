"""Packets of full size get lost without a word, and small ones get through."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

from holdfast.diagnosis.case import Case, Failure, Trip
from holdfast.diagnosis.hypotheses._alike import by_session_day
from holdfast.diagnosis.hypotheses._sending import HANDSHAKE_BYTES, answering, how_far, stopped
from holdfast.diagnosis.hypothesis import Answered, Brief, Hypothesis
from holdfast.flight.endings import Mechanism, Phase
from holdfast.probes.result import Result

NOTHING_THROUGH = 90.0
"""Of a connection that was opened, sent its request again and again, and had nothing of it acknowledged: nine in ten of a
black hole's failures look so, and one in a hundred of others, which would have to begin in that very second."""
GREETING_HUNG = 4.0
"Of a TLS greeting without an answer: a certificate fills large packets. A line that is away does the same."


class MtuBlackHole(Hypothesis):
    """Something on the way passes no packets of full size, and its message that says so gets lost: a tunnel, a VPN, a line
    with a smaller frame.

    It predicts: connections open, and then nothing of a request is ever acknowledged, though TCP sends the same large
    segments again and again; small questions go through, and so does everything on another network. It needs a source
    that saw the bytes: a flight, a capture, or the probe. Where a part of the request was acknowledged, segments of full
    size do get through, and the line loses some: `upload-loss`.
    """

    name = "mtu-black-hole"
    title = "Packets of full size were lost on the way, and small ones got through"
    remedy = (
        "Set the interface's MTU to what gets through by holdfast probe mtu (a VPN's, mostly: in its settings), or "
        "use another network."
    )
    likeness = 0.3
    falsifier = "a capture in which a segment of full size of such a connection is acknowledged"
    rivals: ClassVar[Mapping[str, str]] = {
        "upload-loss": "holdfast probe mtu: nothing of full size gets through, or only some of it is lost",
        "isp-outage": "whether small questions are answered at such a time: holdfast probe edge",
    }

    def ratios(self, case: Case) -> Sequence[float]:
        return [_ratio(case, failure) for failure in case.failures]

    def units(self, case: Case) -> Sequence[Hashable]:
        """A session on such a path fails whatever it asks."""
        return by_session_day(case)

    def asked(self, case: Case, result: Result) -> Answered | None:
        if result.name == "upload":
            whole = _whole(result)
            return Answered(0.05, f"an upload of {whole:,} bytes arrived whole") if whole else None
        tries: Any = result.facts.get("tries")
        if result.name != "mtu" or not isinstance(tries, list) or len(tries) < 2:
            return None
        small, full = (one.get("acknowledged") if isinstance(one, Mapping) else None for one in tries[:2])
        if full is True:
            return Answered(0.05, "segments of full size were acknowledged")
        if small is True and full is False:
            most = result.facts.get("largest_acknowledged_bytes")
            return Answered(
                40.0,
                f"small segments were acknowledged and those of full size were not, {most} bytes at most",
            )
        return None

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        settle = (
            "holdfast probe mtu, here and on another network: whether segments of full size are acknowledged, and the "
            "largest that are"
        )
        return Brief(tuple(how_far(case, mine)), (), settle)


def _whole(result: Result) -> int | None:
    """The largest upload that arrived; None where none did."""
    told: Any = result.facts.get("uploads")
    rungs = [one for one in told if isinstance(one, Mapping)] if isinstance(told, list) else []
    sizes = [one.get("size_bytes") for one in rungs if one.get("whole") is True and not one.get("ended")]
    return max((one for one in sizes if isinstance(one, int) and one > HANDSHAKE_BYTES), default=None)


def _ratio(case: Case, failure: Failure) -> float:
    trips = case.trips_of.get(failure.id, ())
    if failure.statuses:
        return 0.0
    if not trips:
        return 1.0
    return _of(min(trips, key=lambda one: one.at_ms))


def _of(one: Trip) -> float:
    if answering(one) or one.phase in (Phase.RESOLVING, Phase.CONNECTING):
        return 0.0
    if one.phase is Phase.TLS and one.mechanism in (Mechanism.DEADLINE, Mechanism.UNACKNOWLEDGED):
        return GREETING_HUNG
    if one.acked_bytes is None:
        return 1.0
    if one.acked_bytes > HANDSHAKE_BYTES:
        return 0.0
    return NOTHING_THROUGH if stopped(one) else 0.1
