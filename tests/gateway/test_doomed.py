"""Which requests are not worth another try. Times are given."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.gateway.doomed import (
    EXPLAIN_STATUS,
    KEYS,
    MOST_BOUND,
    TRIGGERS,
    Break,
    By,
    Doom,
    DoomedAnswer,
    Verdict,
    agreement,
    answer,
    explanation,
    singled_out,
)


def broke(
    age_s: float,
    answer_bytes: int = 0,
    *,
    mechanism: Mechanism = Mechanism.RST,
    side: Side = Side.PROVIDER,
    phase: Phase = Phase.IN_TOOL_USE,
    request_bytes: int = 800_000,
    silent_s: float = 5.0,
) -> Break:
    code = Ending(side, mechanism, phase).code
    return Break(code, age_s, answer_bytes, request_bytes, 81_200, phase, silent_s)


REFUSED_AT_ONCE = broke(0.2, phase=Phase.SENDING, silent_s=0.2)


def lived(*breaks: Break, doom: Doom | None = None) -> Verdict | None:
    """What is said of a turn whose attempts broke like this, one after the other."""
    doom, now = doom or Doom(), 0.0
    for one in breaks:
        now += one.age_s + 1
        doom.broke("turn", one, now)
    return doom.verdict("turn", now)


# -- by age -----------------------------------------------------------------------------------------


def test_three_breaks_at_the_same_age_doom_a_request() -> None:
    """Something on the way allows a minute."""
    verdict = lived(broke(60.1), broke(60.0), broke(60.3))

    assert verdict is not None
    assert (verdict.by, verdict.seen, verdict.age_s, verdict.size) == (By.AGE, 3, 60.3, None)
    assert verdict.why == "it broke 3 times in a row at the same age, 60.0 s to 60.3 s (P.rst.tool)"
    assert verdict.bound == pytest.approx(2 * (2 * 0.3 / 60.3) ** 2)
    assert verdict.gain == pytest.approx(0.2, abs=0.001)
    assert verdict.since == pytest.approx(61.1)
    assert verdict.until == pytest.approx(183.4 + 60)
    assert (verdict.request_bytes, verdict.input_tokens) == (800_000, 81_200)


@pytest.mark.parametrize(
    ("said", "breaks"),
    [
        ("two are no row", [broke(60), broke(60)]),
        ("ages differ", [broke(60), broke(75), broke(48), broke(66)]),
        ("another mechanism came between", [broke(60), broke(60), broke(60, mechanism=Mechanism.FIN), broke(60)]),
        ("another side came between", [broke(60), broke(60), broke(60, side=Side.PATH), broke(60)]),
        ("refused at once", [broke(1.9)] * 12),
        ("short, and few: the clock blurs them", [broke(4.0)] * 3),
        ("our own limit", [broke(2700, side=Side.GATEWAY, mechanism=Mechanism.DEADLINE)] * 5),
        ("the user's cancel", [broke(60, side=Side.CLIENT, mechanism=Mechanism.CANCELLED)] * 5),
        ("a status says its reason itself", [broke(100, mechanism=Mechanism.HTTP_ERROR)] * 5),
        ("nothing was sent", [broke(15, phase=Phase.CONNECTING, mechanism=Mechanism.FIN)] * 5),
    ],
)  # fmt: skip
def test_these_breaks_doom_nothing(said: str, breaks: list[Break]) -> None:
    """Another try may well do better."""
    assert lived(*breaks) is None, said


def test_short_ages_need_more_of_them() -> None:
    """A quarter of a second is much of three seconds."""
    seen = [lived(*[broke(3.0)] * count) for count in range(3, 7)]

    assert [verdict is not None for verdict in seen] == [False, False, True, True]


def test_a_first_break_elsewhere_does_not_hide_the_row_behind_it() -> None:
    """A pooled connection was older than its request. The choice of where to look makes the bound weaker."""
    plain, chosen = lived(*[broke(60)] * 3), lived(broke(12), *[broke(60)] * 3)

    assert plain is not None and chosen is not None
    assert chosen.seen == 3
    assert chosen.bound == pytest.approx(2 * plain.bound)


@pytest.mark.parametrize(
    ("said", "draw", "at_most"),
    [
        ("at a constant rate", lambda chance: chance.expovariate(1 / 60), 0.01),
        ("anywhere within five minutes", lambda chance: chance.uniform(0, 300), 0.01),
        ("over several orders", lambda chance: chance.lognormvariate(4, 1), 0.01),
        ("around a minute, by a fifth", lambda chance: max(0.0, chance.gauss(60, 12)), 0.1),
    ],
)
def test_accidents_are_hardly_ever_taken_for_doom(
    said: str, draw: Callable[[random.Random], float], at_most: float
) -> None:
    """Of 2500 turns with eleven independent breaks each: how many are condemned at any of them."""
    chance, condemned = random.Random(20261121), 0
    for _ in range(2500):
        doom, now = Doom(), 0.0
        for _ in range(11):
            one = broke(draw(chance), int(draw(chance) * 1500), silent_s=0.1)
            now += one.age_s + 5
            doom.broke("turn", one, now)
            if doom.verdict("turn", now) is not None:
                condemned += 1
                break
    assert condemned <= at_most * 2500, said


# -- by size ----------------------------------------------------------------------------------------


def test_answers_that_end_at_the_same_size_doom_a_request() -> None:
    """Their ages differ as the model's speed does."""
    verdict = lived(
        *[broke(age, 1_048_576 + more, silent_s=0.01) for age, more in ((40, 0), (61, 900), (55, 120))]
    )

    assert verdict is not None
    assert (verdict.by, verdict.age_s, verdict.size) == (By.ANSWER_SIZE, None, 1_049_476)
    assert verdict.why == "it broke 3 times in a row after the same amount of answer, 1.0 MB (P.rst.tool)"


@pytest.mark.parametrize(
    ("said", "size", "silent_s"),
    [
        ("the same first sentence, and then an accident in the silence", 9_000, 40.0),
        ("one event more or less is much of so little", 1_000, 0.0),
    ],
)
def test_small_or_silent_answers_doom_nothing_by_size(said: str, size: int, silent_s: float) -> None:
    """Nearly every answer begins alike."""
    breaks = [broke(age, size, silent_s=silent_s) for age in (40, 80, 61, 120, 20)]
    assert lived(*breaks) is None, said


def beside(others: Iterable[tuple[str, int]], breaks: int = 4) -> Verdict | None:
    """A large request that breaks again and again at once, while others end like this."""
    doom = Doom()
    doom.broke("turn", REFUSED_AT_ONCE, 0.0)
    for number, (how, size) in enumerate(others):
        if how == "finished":
            doom.finished(number, size, 1.0)
        else:
            doom.broke(number, replace(REFUSED_AT_ONCE, request_bytes=size), 1.0)
    for second in range(1, breaks):
        doom.broke("turn", REFUSED_AT_ONCE, 1.0 + second)
    return doom.verdict("turn", 1.0 + breaks)


SMALL = ("finished", 50_000)


def test_a_request_that_alone_never_passes_is_doomed_by_its_size() -> None:
    """Smaller ones are answered between its breaks."""
    verdict = beside([SMALL] * 5)

    assert verdict is not None
    assert (verdict.by, verdict.size, verdict.age_s, verdict.seen) == (By.REQUEST_SIZE, 800_000, 0.2, 4)
    assert verdict.bound == verdict.gain == singled_out(4, 5) == 1 / 126
    assert "while requests smaller than its 800 kB were answered (P.rst.send)" in verdict.why


@pytest.mark.parametrize(
    ("said", "others", "breaks"),
    [
        ("nothing else was asked: it may be an outage", [], 12),
        ("too few others, too few breaks", [SMALL] * 4, 4),
        ("three breaks are no row", [SMALL] * 50, 3),
        ("a smaller one broke, too", [*[SMALL] * 9, ("broke", 50_000)], 6),
        ("a larger one was answered", [*[SMALL] * 9, ("finished", 900_000)], 6),
        ("one of the same size was answered", [*[SMALL] * 9, ("finished", 800_000)], 6),
    ],
)
def test_a_refusal_is_not_blamed_on_the_size_without_comparison(
    said: str, others: list[tuple[str, int]], breaks: int
) -> None:
    """A provider that is down for two minutes must not cost the turn that its client would have saved."""
    assert beside(others, breaks) is None, said


def test_another_large_one_that_breaks_as_well_is_no_objection() -> None:
    """Two agents of a session are both over the limit."""
    assert beside([*[SMALL] * 5, ("broke", 900_000)]) is not None


def test_what_was_answered_before_the_first_break_proves_nothing() -> None:
    """Upstream may have gone down between the two."""
    doom = Doom()
    for number in range(20):
        doom.finished(number, 50_000, 0.0)
    assert lived(*[REFUSED_AT_ONCE] * 6, doom=doom) is None


# -- while it holds ---------------------------------------------------------------------------------


def doomed_at_a_minute() -> Doom:
    """Three breaks at 60 s, the last of them at 180 s."""
    doom = Doom()
    for now in (60.0, 120.0, 180.0):
        doom.broke("turn", broke(60), now)
    return doom


def test_a_verdict_holds_for_a_minute_however_often_it_is_asked_for() -> None:
    """Repeats teach nothing; then one try goes upstream, and if it ends like the others the verdict is back."""
    doom = doomed_at_a_minute()

    assert [doom.verdict("turn", now) is not None for now in (180.0, 200.0, 239.9, 240.0)] == [
        *[True] * 3,
        False,
    ]
    doom.broke("turn", broke(60), 300.0)
    again = doom.verdict("turn", 359.0)
    assert again is not None and again.seen == 4 and again.since == 60.0


@pytest.mark.parametrize(
    ("said", "happens"),
    [
        ("an answer was whole", lambda doom: doom.finished("turn", 800_000, 181.0)),
        ("the network is another", lambda doom: doom.network_changed()),
        ("it broke elsewhere", lambda doom: doom.broke("turn", broke(20), 181.0)),
        ("it broke otherwise", lambda doom: doom.broke("turn", broke(60, mechanism=Mechanism.FIN), 181.0)),
    ],
)
def test_a_verdict_is_forgotten_when_what_it_rests_on_is_gone(
    said: str, happens: Callable[[Doom], None]
) -> None:
    """At once."""
    doom = doomed_at_a_minute()
    happens(doom)
    assert doom.verdict("turn", 182.0) is None, said


@pytest.mark.parametrize(
    "passing", [broke(0.5, phase=Phase.CONNECTING), broke(9, mechanism=Mechanism.HTTP_ERROR)]
)
def test_what_says_nothing_of_the_request_leaves_the_row_as_it_is(passing: Break) -> None:
    """A network that was away for a moment, an overload before the next try."""
    assert lived(broke(60), passing, broke(60), passing, broke(60)) is not None


def test_breaks_far_apart_are_no_row_but_long_attempts_are() -> None:
    """Three tries of twenty minutes each follow each other at once; three within a day do not."""
    assert lived(*[broke(1200)] * 3) is not None
    doom = Doom()
    for now in (60.0, 7200.0, 14_400.0):
        doom.broke("turn", broke(60), now)
    assert doom.verdict("turn", 14_401.0) is None


def test_another_turn_is_not_concerned() -> None:
    """A verdict is about one question."""
    assert doomed_at_a_minute().verdict("another", 181.0) is None


def test_only_so_many_turns_are_remembered() -> None:
    """Those heard of last."""
    doom = doomed_at_a_minute()
    assert repr(doom) == "<Doom 1 keys, 1 doomed>"
    for key in range(KEYS):
        doom.broke(key, broke(60), 181.0)
    assert repr(doom) == f"<Doom {KEYS} keys, 0 doomed>"


# -- the bound --------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1e4), max_size=16), st.floats(0.01, 300), st.integers(0, 100))
def test_whatever_agrees_agrees_closely(values: list[float], blur: float, more: int) -> None:
    """Three at least, within a tenth, and hardly by chance."""
    found = agreement(values, blur, len(values) + more)
    if found is not None:
        last = values[-found.last :]
        assert len(last) >= 3
        assert max(last) - min(last) <= 0.1 * max(last)
        assert 0 <= found.bound <= MOST_BOUND


@given(st.integers(3, 16), st.integers(0, 5))
def test_the_bound_is_the_formula(count: int, before: int) -> None:
    """(2s)^(k-1), for each of the rows that could have been taken, by age and by size."""
    values = [*[1.0] * before, *[99.0] * (count - 1), 100.0]
    found = agreement(values, 0.25, count + before)

    assert found is not None and found.last == count
    assert found.bound == pytest.approx(2 * (count + before - 2) * 0.02 ** (count - 1))


# -- what the client is told ------------------------------------------------------------------------

BY_AGE = Verdict(By.AGE, "it broke", 3, 60.3, None, 0.0004, 0.0, 60.0, 800_000, 81_200)


def test_a_doomed_request_is_explained() -> None:
    """What was seen, how sure that is, what may help, and where to read on."""
    verdict = lived(broke(60.1), broke(60.0), broke(60.3))
    assert verdict is not None

    assert answer(verdict, "explain", "t_1", compacts=True) == DoomedAnswer(
        403,
        "permission_error",
        "Holdfast did not ask upstream again, because it broke 3 times in a row at the same age, 60.0 s to 60.3 s "
        "(P.rst.tool); accidents would agree like this in at most 0.02% of such cases. Something on the way seems to "
        "end every answer there. What may help: ask for less at once, or in parts; a shorter conversation (/compact in "
        "Claude Code); another network, or this one without its VPN or proxy. If you ask again in a minute, it is sent "
        "on. More: holdfast flight t_1",
    )


def test_a_client_that_compacts_by_itself_is_told_so_in_the_apis_words() -> None:
    """The words that make it do so, the truth behind them, and no invented number."""
    told = answer(BY_AGE, "compact", "t_1", compacts=True)

    assert (told.status, told.kind) == (400, "invalid_request_error")
    assert told.message.startswith("prompt is too long")
    assert told.message.endswith(BY_AGE.why)


@pytest.mark.parametrize("on_doomed", ["explain", "compact", "strip-images"])
def test_a_client_that_does_not_compact_is_given_the_advice(on_doomed: str) -> None:
    """With the status that it shows at once."""
    told = answer(BY_AGE, on_doomed, "t_1", explain_status=400, compacts=False)

    assert (told.status, told.kind) == (400, "invalid_request_error")
    assert "/compact" in told.message
    assert answer(BY_AGE, on_doomed, "t_1", compacts=False).status == EXPLAIN_STATUS


@pytest.mark.parametrize(
    "verdict",
    [
        lived(*[broke(60)] * 3),
        lived(*[broke(60, phase=phase) for phase in (Phase.AWAITING_HEADERS, Phase.IN_TEXT, Phase.IN_THINKING)]),
        lived(*[broke(age, 2_000_000, silent_s=0) for age in (40, 61, 55)]),
        beside([SMALL] * 9),
        *[lived(*[broke(90, mechanism=mechanism)] * 4) for mechanism in Mechanism],
    ],
)  # fmt: skip
def test_an_explanation_triggers_no_recovery(verdict: Verdict | None) -> None:
    """Clients look into an error's text to compact, to drop media, or to send their user to log in."""
    if verdict is not None:
        told = explanation(verdict, "0198c0ffee").lower()
        assert [word for word in TRIGGERS if word in told] == []
