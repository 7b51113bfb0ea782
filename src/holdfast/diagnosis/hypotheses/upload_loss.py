"""The line loses what is sent, and large requests do not get through."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from statistics import fmean, median
from typing import Any, ClassVar

from holdfast.diagnosis.case import Case, Failure, Trip
from holdfast.diagnosis.hypotheses._alike import by_session_day
from holdfast.diagnosis.hypotheses._sending import AGAIN, HANDSHAKE_BYTES, answering, how_far, stopped
from holdfast.diagnosis.hypotheses.large_request import by_prompt
from holdfast.diagnosis.hypothesis import Answered, Brief, Evidence, Hypothesis
from holdfast.flight.endings import Mechanism, Phase
from holdfast.flight.flights import counted, size
from holdfast.probes.result import Result

LOOK_SO, OTHERS_LOOK_SO = 0.8, 0.02
"""Of this cause's failures, and of others: those that end with a part of their request acknowledged and the rest sent again
and again. Where ways go dark in the midst of answers as well (nobody acknowledges), they go dark under uploads too, and
others look so as often as that: a request is on its way out, or waited for, about half as long as it is answered."""
DARK = frozenset({Mechanism.UNACKNOWLEDGED, Mechanism.KEEPALIVE_UNANSWERED})
SENDING = 6.0
"Of one that ended while it was being sent, where nothing tells of acknowledgements."
ENOUGH = 10
"Requests that went well and whose size is known: with fewer there is nothing to compare with."
STEEPEST = (0.3, 4.0)
"How much a request's size may speak against and for it: what is twice as long has twice the packets to lose."
MUCH_LOSS = 0.02


class UploadLoss(Hypothesis):
    """A line that loses much of what this machine sends, or carries it too slowly: a weak radio link, a full upload, a bad
    cable.

    It predicts: requests that end before anything of the answer came, with a part of the request acknowledged and the
    rest sent again and again; the larger the request, the likelier; answers that have begun come to their end. Whether a
    request was on its way at all, only a flight, a capture or a log that counts its bytes tells: by the client's logs it
    cannot be told from a prompt that takes long to read (`large-request`).
    """

    name = "upload-loss"
    title = "Requests were lost on their way out, large ones most"
    remedy = "Use a cable, or another network, for large prompts; /compact makes requests small."
    likeness = 0.2
    falsifier = "captures of such failures in which the whole request was acknowledged at once"
    rivals: ClassVar[Mapping[str, str]] = {
        "mtu-black-hole": "holdfast probe mtu: nothing of full size gets through, or only some of it is lost",
        "large-request": "holdfast capture, beside a failing request: was all of it acknowledged before it ended?",
        "isp-outage": "whether small questions are answered at such a time: holdfast probe edge",
    }

    def ratios(self, case: Case) -> Sequence[float]:
        sizes = [one.request_bytes for one in case.trips if not one.broke and one.request_bytes]
        cut = LOOK_SO / _otherwise(case)
        found = [_ratio(case, failure, sizes, cut) for failure in case.failures]
        by_size = by_prompt(case) if any(ratio > 1 for ratio in found) else None
        if by_size is None:
            return found
        # Nobody saw how far these had got; where others were seen to be lost on their way out, their size speaks for it.
        return [
            ratio if case.trips_of.get(failure.id) else large
            for failure, ratio, large in zip(case.failures, found, by_size, strict=True)
        ]

    def units(self, case: Case) -> Sequence[Hashable]:
        """A session that is large and out of luck is one coincidence."""
        return by_session_day(case)

    def asked(self, case: Case, result: Result) -> Answered | None:
        if result.name == "ping":
            lost, sent = result.facts.get("lost"), result.facts.get("sent")
            if not isinstance(lost, int) or not isinstance(sent, int) or result.facts.get("by") != "TCP":
                return None
            if 0 < lost < sent:
                return Answered(3.0, f"{lost} of {sent} greetings were lost")
            return (
                None
                if lost
                else Answered(0.7, f"none of {sent} greetings was lost, which says little of large ones")
            )
        told: Any = result.facts.get("uploads")
        if result.name != "upload" or not isinstance(told, list):
            return None
        rungs = [one for one in told if isinstance(one, Mapping)]
        whole = [one for one in rungs if one.get("whole") is True and not one.get("ended")]
        cut = [one for one in rungs if one.get("ended")]
        again = sum(one["retransmissions"] for one in rungs if isinstance(one.get("retransmissions"), int))
        segments = sum(one["segments"] for one in rungs if isinstance(one.get("segments"), int))
        if cut and whole:
            largest = max(one.get("size_bytes") or 0 for one in whole)
            first = min(one.get("size_bytes") or 0 for one in cut)
            return Answered(30.0, f"{size(largest)} arrived whole, and {size(first)} did not")
        if segments and again > AGAIN and again / segments >= MUCH_LOSS:
            return Answered(6.0, f"TCP had to send {again} of {segments} segments again")
        if whole and not cut:
            largest = max(one.get("size_bytes") or 0 for one in whole)
            # It may lose now and then: some tries that went well say little, and nothing of larger ones.
            return Answered(0.4, f"{counted(len(whole), 'upload')} arrived whole, up to {size(largest)}")
        return None

    def brief(self, case: Case, mine: Sequence[Failure]) -> Brief:
        pro = how_far(case, mine)
        sizes = [one.request_bytes for one in case.trips if not one.broke and one.request_bytes]
        broken = [
            one.request_bytes
            for failure in mine
            for one in case.trips_of.get(failure.id, ())
            if one.request_bytes
        ]
        if len(sizes) >= ENOUGH and broken:
            pro.append(
                Evidence(
                    f"Half of those requests had {size(round(median(broken)))} or more; of {len(sizes)} that went well, "
                    f"half had {size(round(median(sizes)))}.",
                    "flights",
                )
            )
        later = sum(
            any(answering(one) for one in case.trips_of.get(failure.id, ())) for failure in case.failures
        )
        con = (
            [Evidence(f"{counted(later, 'failure')} had begun to be answered: those had arrived.", "flights")]
            if later
            else []
        )
        settle = (
            "holdfast probe upload --most 5MB --yes, here and on another network: which sizes arrive, and how much is sent "
            "again; holdfast capture, beside a failing request"
        )
        return Brief(tuple(pro), tuple(con), settle)


def _otherwise(case: Case) -> float:
    """How many of others' failures look like this cause's."""
    known = [one for trips in case.trips_of.values() for one in trips if one.phase is not None]
    dark = sum(answering(one) and one.mechanism in DARK for one in known)
    return max(OTHERS_LOOK_SO, 0.5 * dark / len(known) if known else 0.0)


def _ratio(case: Case, failure: Failure, sizes: Sequence[int], cut: float) -> float:
    trips = case.trips_of.get(failure.id, ())
    if failure.statuses:
        return 0.0
    if not trips:
        return 1.0
    return _of(min(trips, key=lambda one: one.at_ms), sizes, cut)


def _of(one: Trip, sizes: Sequence[int], cut: float) -> float:
    if answering(one) or one.phase in (Phase.RESOLVING, Phase.CONNECTING):
        return 0.0
    if stopped(one):
        if one.acked_bytes is not None and one.acked_bytes <= HANDSHAKE_BYTES:
            return 0.1  # nothing of the request got through, not a part of it
        ratio = cut
    elif one.phase is Phase.SENDING and one.unacked_bytes is None:
        ratio = SENDING
    else:
        return 0.1
    if one.request_bytes and len(sizes) >= ENOUGH:
        low, high = STEEPEST
        ratio *= min(max(one.request_bytes / fmean(sizes), low), high)
    return ratio
