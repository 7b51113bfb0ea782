"""Whether another program's account of an ending agrees with ours. Values in, values out."""

from __future__ import annotations

from enum import Enum

from holdfast.flight.endings import Ending, Mechanism, Side
from holdfast.records.legs import Kind, Leg
from holdfast.records.sighting import Sighting


class Verdict(Enum):
    """What a sighting does to our own account."""

    AGREES = "agrees"
    CONTRADICTS = "contradicts"
    ADDS = "adds"
    "It saw more than we can see from here, and that fits."
    SILENT = "says nothing on who"


def judged(one: Sighting, leg: Leg) -> tuple[Verdict, str]:
    """Compare who ended it as we know it with who ended it as that program tells it."""
    ending, said = leg.ending, one.side
    if said is None:
        return Verdict.SILENT, ""
    if ending is None:
        return Verdict.SILENT, "our own record has no ending for it"
    ours = Side.NOBODY if ending.completed else ending.side
    if ours is Side.NOBODY or said is Side.NOBODY:
        return _orderly(one, leg, ending, ours)
    if leg.kind is Kind.CLIENT:
        return _client_side(one, ending, ours)
    return _upstream_side(one, ending, ours)


def _orderly(one: Sighting, leg: Leg, ending: Ending, ours: Side) -> tuple[Verdict, str]:
    if ours is one.side:
        return _how(one, ending)
    if one.side is Side.NOBODY and ending.mechanism in (Mechanism.HTTP_ERROR, Mechanism.STREAM_ERROR):
        same = one.status is None or leg.status is None or one.status == leg.status
        return (Verdict.AGREES, "") if same else (Verdict.CONTRADICTS, "another status")
    if one.side is Side.NOBODY:
        return Verdict.CONTRADICTS, f"we saw it break ({ending.code})"
    return Verdict.CONTRADICTS, "we saw it come to its proper end"


def _client_side(one: Sighting, ending: Ending, ours: Side) -> tuple[Verdict, str]:
    """It stands between the client and us, or is the client: its upstream is Holdfast."""
    left = ours is Side.CLIENT
    if one.side is Side.CLIENT:
        return _how(one, ending) if left else (Verdict.CONTRADICTS, f"we have {ending.code}")
    if one.side is Side.PROVIDER:
        if left:
            return Verdict.CONTRADICTS, "it says we ended it, we say the client's side did"
        return (Verdict.AGREES, "its upstream is Holdfast, which passed on what had happened")
    if left and one.mechanism is Mechanism.DEADLINE and one.program == "HAProxy":
        return (
            Verdict.ADDS,
            "what we took for the client was its limit; or the client had left and it did not look (abortonclose)",
        )
    if left:
        return Verdict.ADDS, "what looked like the client from here was this program"
    return Verdict.CONTRADICTS, f"we have {ending.code}"


def _upstream_side(one: Sighting, ending: Ending, ours: Side) -> tuple[Verdict, str]:
    """It stands between us and the provider: its client is Holdfast."""
    theirs = ours in (Side.PROVIDER, Side.PATH)
    if one.side is Side.CLIENT:
        if not theirs:
            return Verdict.AGREES, "its client is Holdfast"
        if ours is Side.PATH:
            return Verdict.AGREES, "we gave the connection up as dead, and that is what it saw"
        return Verdict.CONTRADICTS, "it says we left, we say its side ended it"
    if not theirs:
        return Verdict.CONTRADICTS, "we say that we left"
    if one.side is Side.PROVIDER:
        return _how(one, ending) if ours is Side.PROVIDER else (Verdict.ADDS, "")
    return Verdict.ADDS, "what looked like upstream from here was this program"


def _how(one: Sighting, ending: Ending) -> tuple[Verdict, str]:
    """Agreed on who; does it agree on how?"""
    plain = {Mechanism.FIN: "closed", Mechanism.RST: "reset", Mechanism.FIN_THEN_RST: "closed, then reset"}
    if one.mechanism in plain and ending.mechanism in plain and one.mechanism is not ending.mechanism:
        return Verdict.AGREES, f"on who; we saw it {plain[ending.mechanism]}"
    return Verdict.AGREES, ""
