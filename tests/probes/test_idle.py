"""Silent connections: what became of them, and what may be concluded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.flight.instant import Instant
from holdfast.probes import idle
from holdfast.probes.asking import carry_out, labelled
from holdfast.probes.idle import Held, Outcome, lengths, threshold, verdict
from holdfast.probes.result import Grade
from holdfast.probes.target import Target
from tests.probes.stage import QUICK, Server, go_on

HOLDS = (60.0, 120.0, 240.0, 300.0, 360.0)


def held(outcomes: str, *, keepalive: bool = False, at_s: float | None = None) -> list[Held]:
    """One letter per length: a alive, c closed by a FIN (at `at_s`), r reset on send, d dead on send."""
    kinds = {
        "a": (Outcome.ALIVE, ""),
        "c": (Outcome.CLOSED, "fin"),
        "r": (Outcome.RESET_ON_SEND, "reset"),
        "d": (Outcome.DEAD_ON_SEND, "timeout"),
    }
    return [
        Held(hold, keepalive, kinds[letter][0], at_s if letter == "c" and at_s else hold, kinds[letter][1])
        for hold, letter in zip(HOLDS, outcomes, strict=True)
    ]


CASES = [
    ("aaaaa", "aaaaa", Grade.FINE, "10 of 10 idle connections lived, up to 360 s"),
    ("aaadd", "aaaaa", Grade.SUSPECTED, "the path forgets silent connections between 240 s and 300 s"),
    (
        "aarrr",
        "aaaaa",
        Grade.SUSPECTED,
        "the path forgets silent connections between 120 s and 240 s (reset on send: 3)",
    ),
    (
        "acccc",
        "acccc",
        Grade.NOTED,
        "the far end's own rule for connections without a request",
    ),
    ("acccc", "aaaaa", Grade.SUSPECTED, "something that counts packets closes silent connections"),
    ("aaddd", "aaddd", Grade.SUSPECTED, "not helped by probes"),
    ("adada", "aaaaa", Grade.SUSPECTED, "no threshold"),
]


@pytest.mark.parametrize(("without", "with_", "grade", "words"), CASES)
def test_what_may_be_concluded(without: str, with_: str, grade: Grade, words: str) -> None:
    """The kind follows from how they ended, and from whether TCP's own probes kept them."""
    finding = verdict([*held(without, at_s=75.0), *held(with_, keepalive=True, at_s=75.0)])

    assert finding.grade is grade
    assert words in finding.verdict


def test_a_close_counts_with_its_own_time() -> None:
    """A connection that was closed at 75 s of 120 lived for 75: the threshold is there, not at 120."""
    found = threshold(held("acccc", at_s=75.0))

    assert (found.alive_s, found.gone_s, str(found)) == (60.0, 75.0, "between 60.0 s and 75.0 s")


def test_what_lived_says_nothing_about_streams() -> None:
    """The verdict carries its own limits."""
    assert (
        "that excludes a failure rate over 26%"
        in verdict(held("aaaaa") + held("aaaaa", keepalive=True)).verdict
    )
    assert "says nothing about longer silence or about streams" in verdict(held("aaaaa")).verdict


def test_a_path_that_is_down_is_no_threshold() -> None:
    """Whoever looks away while the network goes must not read a NAT out of it: a new connection is the control."""
    finding = verdict([*held("aaddd"), *held("aaddd", keepalive=True)], fresh_works=False)

    assert finding.grade is Grade.BROKEN and "says nothing about silence" in finding.verdict


def test_a_machine_that_slept_measured_nothing() -> None:
    """Times go on while nobody sends; the result says so and is not complete."""
    began, ended = Instant(100.0, 1_000), Instant(400.0, 9_000_000)
    found = labelled(
        idle, Target("x.example", 443), verdict(held("aaadd")), began, ended, 3600.0, stopped=False
    )

    assert "this machine slept 3600 s meanwhile" in found.verdict and not found.complete
    assert labelled(idle, Target("x", 1), verdict(held("aaaaa")), began, ended, None, stopped=False).complete


def test_lengths_lie_between_two_and_have_both() -> None:
    """From 50 s to 5 min: the limits that are met there, and the ends."""
    assert lengths(50, 300) == (50, 60, 90, 120, 180, 240, 300)
    assert lengths(30, 30) == (30,)


def test_a_server_that_closes_idle_connections_is_told_from_a_box() -> None:
    """With TCP keepalive it closes them as well: it counts requests, not packets."""
    with Server(idle_s=0.9) as server:
        found = carry_out(idle, server.target(), QUICK, go_on)

    assert found.grade is Grade.NOTED and "most likely the far end's own rule" in found.verdict
    for name in ("without_keepalive", "with_keepalive"):
        short, long = found.facts[name]["connections"]
        assert (short["outcome"], long["outcome"], long["how"]) == ("alive", "closed while idle", "fin")
        assert 0.8 < long["idle_s"] < 1.1


def test_a_reset_while_idle_is_a_close_with_its_time() -> None:
    """Somebody said so, and when."""
    with Server(idle_s=0.9, reset=True) as server:
        found = carry_out(idle, server.target(), QUICK, go_on)

    long = found.facts["without_keepalive"]["connections"][1]
    assert (long["outcome"], long["how"]) == ("closed while idle", "reset") and 0.8 < long["idle_s"] < 1.1


def test_connections_that_live_are_asked_twice_and_no_more() -> None:
    """One question before the silence and one after it, on each of four connections."""
    with Server() as server:
        found = carry_out(idle, server.target(), replace(QUICK, holds_s=(0.2, 0.4)), go_on)

    assert found.grade is Grade.FINE and len(server.heard) == 8
    assert {head.partition(" ")[0] for head in server.heard} == {"HEAD"}


def test_interrupted_it_tells_what_is_known() -> None:
    """The short silence is over, the long one is not."""
    asked = 0
    with Server() as server:

        def enough() -> bool:
            # The fifth and sixth question are those after the short silence; a moment later somebody has enough.
            nonlocal asked
            asked += len(server.heard) >= 6
            return asked > 4

        found = carry_out(idle, server.target(), replace(QUICK, holds_s=(0.2, 20.0)), enough)

    assert not found.complete and "interrupted: 2 of 4 were still waiting" in found.verdict
    assert found.facts["without_keepalive"]["longest_alive_s"] == pytest.approx(0.2, abs=0.15)
    assert [one["hold_s"] for one in found.facts["not_known_yet"]] == [20.0, 20.0]


def test_a_server_that_closes_after_every_answer_cannot_be_asked() -> None:
    """Nothing about silence is learnt from it."""
    with Server(idle_s=0.05) as server:
        found = carry_out(idle, server.target(), QUICK, go_on)

    assert (
        found.grade is Grade.NOT_MEASURED and "closes every connection soon after its answer" in found.verdict
    )
