"""Whether upstream is asked again. Time and chance are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.flight.endings import Ending, Mechanism, Phase, Side
from holdfast.gateway.retry import BREAKS, ERRORS, KEYS, STATUSES, Again, Broke, Change, Ledger, No, Rule
from holdfast.gateway.settings import RetryRules

RESET = Broke(
    Ending(Side.PROVIDER, Mechanism.RST, Phase.IN_TEXT),
    sent=True,
    attempt=1,
    status=200,
    error=None,
    retry_after_s=None,
    should_retry=None,
    http="1.1",
    address="192.0.2.1",
    age_s=1.0,
)
NOTHING_CAME = replace(
    RESET, ending=Ending(Side.PROVIDER, Mechanism.FIN, Phase.AWAITING_HEADERS), status=None
)
DEFAULTS = RetryRules()
PLENTY = RetryRules(retries=1000, retry_share=1.0, retry_floor=100_000)


def status(number: int, retry_after_s: float | None = None, *, should_retry: bool | None = None) -> Broke:
    ending = Ending(Side.PROVIDER, Mechanism.HTTP_ERROR, Phase.AWAITING_HEADERS, f"HTTP {number}")
    return replace(
        RESET, ending=ending, status=number, retry_after_s=retry_after_s, should_retry=should_retry
    )


def stream_error(kind: str | None) -> Broke:
    return replace(RESET, ending=Ending(Side.PROVIDER, Mechanism.STREAM_ERROR, Phase.IN_TEXT), error=kind)


def by(mechanism: Mechanism, side: Side = Side.PROVIDER) -> Broke:
    return replace(RESET, ending=Ending(side, mechanism, Phase.IN_TEXT))


def ledger(rules: RetryRules = DEFAULTS, chance: float = 0.0) -> Ledger:
    return Ledger(rules, chance=lambda: chance)


def waits(*breaks: Broke, rules: RetryRules = PLENTY, chance: float = 0.0) -> list[float | str]:
    """What one turn is told break by break, ten seconds apart: how long to wait, or why not to ask."""
    books = ledger(rules, chance)
    answers = [books.decide("turn", broke, 10.0 * number) for number, broke in enumerate(breaks)]
    return [answer.after_s if isinstance(answer, Again) else answer.why for answer in answers]


# -- one turn ---------------------------------------------------------------------------------------


def test_a_broken_connection_is_asked_again_at_once_and_then_more_slowly() -> None:
    """Nobody gains by waiting for a connection that is fresh anyway; if it breaks again, somebody is in trouble."""
    assert waits(*[RESET] * 8) == [0.0, 2.0, 8.0, 16.0, 16.0, 16.0, 16.0, 16.0]
    assert waits(*[RESET] * 4, chance=1.0) == [0.0, 1.5, 6.0, 12.0]


def test_a_service_in_trouble_is_given_time() -> None:
    """From the first retry on."""
    assert waits(*[status(529)] * 6) == [2.0, 8.0, 16.0, 16.0, 16.0, 16.0]
    assert waits(*[stream_error("overloaded_error")] * 3) == [2.0, 8.0, 16.0]


def test_each_retry_changes_something() -> None:
    """A fresh connection first, then another address than those that broke."""
    books = ledger()
    first = books.decide("turn", RESET, 0.0)
    second = books.decide("turn", replace(RESET, address="2001:db8::1"), 1.0)
    third = books.decide("turn", replace(RESET, address="192.0.2.1"), 2.0)

    assert first == Again(0.0, Change.FRESH_CONNECTION, "retry 1 of 3", ("192.0.2.1",))
    assert second == Again(2.0, Change.OTHER_ADDRESS, "retry 2 of 3", ("192.0.2.1", "2001:db8::1"))
    assert third == Again(8.0, Change.OTHER_ADDRESS, "retry 3 of 3", ("2001:db8::1", "192.0.2.1"))


@pytest.mark.parametrize(
    ("said", "broke", "changes"),
    [
        ("HTTP/2 broke", replace(RESET, http="2"), [Change.HTTP_1] * 3),
        ("it works", replace(status(529), http="2"), [Change.FRESH_CONNECTION, *[Change.OTHER_ADDRESS] * 2]),
        ("a proxy has one address", replace(RESET, address=None), [Change.FRESH_CONNECTION] * 3),
    ],
)
def test_http_2_is_left_where_it_broke(said: str, broke: Broke, changes: list[Change]) -> None:
    """An error that was said over HTTP/2 says nothing against HTTP/2."""
    books = ledger(PLENTY)
    answers = [books.decide("turn", broke, float(second)) for second in range(3)]

    assert [answer.change for answer in answers if isinstance(answer, Again)] == changes, said


def test_the_budget_belongs_to_the_question_and_not_to_the_request() -> None:
    """The client's own retries find it spent; a whole answer gives it back, and another turn has its own."""
    books = ledger()
    for second in range(3):
        assert isinstance(books.decide("turn", RESET, float(second)), Again)

    assert books.decide("turn", RESET, 60.0) == No("its 3 retries are used up")
    assert isinstance(books.decide("another", RESET, 60.0), Again)
    books.finished("turn")
    assert isinstance(books.decide("turn", RESET, 61.0), Again)


def test_a_budget_is_forgotten_after_a_quarter_of_an_hour_without_news() -> None:
    """Each break is news, and so is an attempt that is under way, however long it takes."""
    rules = RetryRules(retries=1)
    long_answer = replace(RESET, age_s=1500.0)
    books = ledger(rules)

    assert isinstance(books.decide("turn", RESET, 0.0), Again)
    assert books.decide("turn", RESET, 890.0) == No("its one retry is used up")
    assert books.decide("turn", long_answer, 2400.0) == No("its one retry is used up")
    assert isinstance(books.decide("turn", RESET, 3400.0), Again)


def test_retries_can_be_switched_off() -> None:
    """And the flight says that it was the user's choice."""
    assert waits(RESET, rules=RetryRules(retries=0)) == ["retries are switched off (--retries 0)"]


def test_an_attempt_that_sent_nothing_is_not_decided_here() -> None:
    """It costs nothing, so it may neither be counted nor pass every count."""
    with pytest.raises(ValueError, match="sent nothing"):
        ledger().decide("turn", replace(RESET, sent=False), 0.0)


# -- the tables -------------------------------------------------------------------------------------


def test_every_way_of_breaking_is_in_the_table() -> None:
    """Two have tables of their own, by what was said."""
    assert set(BREAKS) == set(Mechanism) - {Mechanism.STREAM_ERROR, Mechanism.HTTP_ERROR}
    for mechanism, (rule, why) in BREAKS.items():
        assert bool(why) == (rule in (Rule.NEVER, Rule.ONCE)), mechanism


@pytest.mark.parametrize("mechanism", BREAKS)
@pytest.mark.parametrize("side", Side)
def test_what_we_or_the_client_ended_is_not_asked_again(side: Side, mechanism: Mechanism) -> None:
    """Whatever it looks like on the wire."""
    [said] = waits(by(mechanism, side))

    asked = side not in (Side.CLIENT, Side.GATEWAY) and BREAKS[mechanism][0] is not Rule.NEVER
    assert isinstance(said, float) == asked


def test_garbage_may_be_an_accident_once() -> None:
    """One bad box among several may speak like this; a second time there is no such hope."""
    assert waits(by(Mechanism.MALFORMED), by(Mechanism.MALFORMED)) == [
        0.0,
        "what arrives is not HTTP, and it was not by accident",
    ]


@pytest.mark.parametrize("number", range(400, 600))
def test_statuses_are_asked_again_by_the_table_unless_upstream_says_otherwise(number: int) -> None:
    """`x-should-retry` wins in both directions."""
    assert isinstance(waits(status(number, should_retry=True))[0], float)
    assert "x-should-retry" in str(waits(status(number, should_retry=False))[0])
    retried = STATUSES.get(number) is Rule.BACK_OFF
    assert waits(status(number))[0] == 2.0 if retried else isinstance(waits(status(number))[0], str)


def test_the_statuses_of_a_passing_trouble_are_in_the_table() -> None:
    """Those that clients retry by themselves while they can; a refusal never."""
    assert set(STATUSES) >= {408, 409, 429, 500, 502, 503, 504, 529}
    assert not set(STATUSES) & {400, 401, 402, 403, 404, 413, 501}


@pytest.mark.parametrize(
    ("broke", "said"),
    [
        (status(429, 3.0), 3.0),
        (status(429, 0.0), 2.0),
        (status(429, 60.0), 60.0),
        (
            status(429, 61.0),
            "upstream asks to wait for 61 s (retry-after), which is for the client to decide",
        ),
        (status(429), "status 429 came without a retry-after, and does not clear by asking again"),
        (
            status(429, float("nan")),
            "status 429 came without a retry-after, and does not clear by asking again",
        ),
        (status(429, -1.0), "status 429 came without a retry-after, and does not clear by asking again"),
        (status(429, should_retry=True), 2.0),
        (
            status(429, 3600.0, should_retry=True),
            "upstream asks to wait for 3600 s (retry-after), which is for the client to decide",
        ),
        (status(503, 7.0), 7.0),
        (status(529, 0.1), 2.0),
        (replace(RESET, retry_after_s=30.0), 0.0),
        (replace(RESET, should_retry=False), 0.0),
    ],
)
def test_upstream_is_given_the_time_that_it_asks_for(broke: Broke, said: float | str) -> None:
    """Up to a minute. Beside a 200 these headers say nothing."""
    assert waits(broke) == [said]


@pytest.mark.parametrize("kind", [*ERRORS, "a_new_error", None])
def test_errors_inside_the_stream_are_asked_again_by_their_type(kind: str | None) -> None:
    """Trouble passes, a refusal does not; a type that nobody knows gets the benefit of the doubt, once."""
    first, second = waits(stream_error(kind), stream_error(kind))

    rule = ERRORS.get(kind or "", Rule.ONCE)
    assert isinstance(first, float) == (rule is not Rule.NEVER)
    assert isinstance(second, float) == (rule is Rule.BACK_OFF)
    assert rule is Rule.BACK_OFF or (kind or "without a type") in str(second)


def test_a_break_within_an_errors_body_is_judged_by_its_status() -> None:
    """The refusal had been said, although its text was cut."""
    cut = replace(RESET, status=400)
    assert waits(cut) == ["status 400 would be the answer to the same request again"]


# -- all turns --------------------------------------------------------------------------------------


def test_a_storm_of_failures_grows_by_a_tenth() -> None:
    """10,000 requests within 50 s, each answered with 529 however often it is asked."""
    books = ledger()
    retries = 0
    for number in range(10_000):
        now = number / 200
        books.asked(now)
        books.answered(now, 529)
        for _ in range(4):
            retries += isinstance(books.decide(number, replace(status(529), age_s=0.0), now), Again)
    assert retries <= 1000 + DEFAULTS.retry_floor

    calm = ledger()
    for number in range(10_000):
        calm.asked(number / 200)
    answers = [calm.decide(key, RESET, 50.0) for key in range(2000)]
    assert sum(isinstance(answer, Again) for answer in answers) == 1000


def test_a_single_user_can_be_helped_whatever_the_share() -> None:
    """A session asks twice in a minute: a tenth of that would be none."""
    books = ledger()
    books.asked(0.0)
    answers = [books.decide(agent, RESET, 30.0) for agent in range(12)]

    assert sum(isinstance(answer, Again) for answer in answers) == 10
    assert answers[-1] == No(
        "10 retries were made within a minute in which clients asked 1 times, and that is enough"
    )
    assert isinstance(books.decide("later", RESET, 91.0), Again)


def test_more_turns_than_can_be_remembered_are_not_retried_without_count() -> None:
    """What is forgotten would have its budget again; so nothing is forgotten before its time."""
    books = ledger(PLENTY)
    for key in range(KEYS):
        assert isinstance(books.decide(key, RESET, 0.0), Again)

    assert books.decide("one more", RESET, 1.0) == No("more than 4096 turns are being retried already")
    books.finished(17)
    assert isinstance(books.decide("one more", RESET, 2.0), Again)
    assert isinstance(books.decide("another", RESET, 901.0), Again)
    assert f"{KEYS} keys" in repr(books)


# -- the breaker ------------------------------------------------------------------------------------


def fail(books: Ledger, keys: str, start: float = 0.0) -> list[bool]:
    """Requests of these turns, one after the other and a second apart, that nothing came of: which were retried?"""
    answers = [books.decide(key, NOTHING_CAME, start + second) for second, key in enumerate(keys)]
    return [isinstance(answer, Again) for answer in answers]


def test_an_upstream_that_answers_nobody_is_left_alone_for_a_while() -> None:
    """After five failures in a row of two turns; then one retry shows whether it answers again."""
    books = ledger(PLENTY)

    assert fail(books, "ababab") == [True] * 4 + [False] * 2
    assert repr(books) == "<Ledger 2 keys, 4 retries of 0 requests, breaker open for 30 s>"
    assert fail(books, "ab", 35.0) == [True, False]
    assert (
        repr(books) == "<Ledger 2 keys, 5 retries of 0 requests, breaker open for 30 s, one retry let pass>"
    )


def test_the_breaker_rests_longer_each_time_up_to_five_minutes() -> None:
    """The retry that it let pass failed as well."""
    books = ledger(PLENTY)
    fail(books, "aaaab")
    now, rests = 4.0, []
    for _ in range(6):
        start = now
        while not isinstance(books.decide("a", NOTHING_CAME, now), Again):
            now += 1.0
        rests.append(now - start)
        now += 1.0

    assert rests == pytest.approx([30.0, 60.0, 120.0, 240.0, 300.0, 300.0], abs=1.1)


def test_an_answer_closes_the_breaker_and_an_overload_does_not() -> None:
    """A 400 is a sign that somebody is there; a 529 is one that nobody is served."""
    books = ledger(PLENTY)
    fail(books, "ababab")
    books.answered(7.0, 529)
    assert fail(books, "c", 8.0) == [False]
    books.answered(9.0, 400)
    assert fail(books, "abab", 10.0) == [True] * 4


def test_a_retry_that_was_let_pass_and_never_heard_of_again_does_not_close_the_way() -> None:
    """Its client left: after as long a rest another one may try."""
    books = ledger(PLENTY)
    fail(books, "ababab")

    assert fail(books, "a", 40.0) == [True]
    assert fail(books, "b", 69.0) == [False]
    assert fail(books, "b", 70.0) == [True]


@pytest.mark.parametrize(
    ("said", "keys", "broke"),
    [
        ("one turn's trouble is its own", "aaaaaaaa", NOTHING_CAME),
        ("upstream had begun to answer", "abababab", RESET),
        ("it was our own limit", "abababab", by(Mechanism.DEADLINE, Side.GATEWAY)),
        ("they were under way at the same time", "abcdefgh", replace(NOTHING_CAME, age_s=60.0)),
    ],
)
def test_these_breaks_do_not_open_the_breaker(said: str, keys: str, broke: Broke) -> None:
    """A reset of the path ends all that is under way, and says nothing about the next request."""
    books = ledger(PLENTY)
    for second, key in enumerate(keys):
        books.decide(key, broke, float(second))

    assert fail(books, keys[0], 10.0) == [True], said


# -- in any order -----------------------------------------------------------------------------------

_BREAKS = st.sampled_from([RESET, NOTHING_CAME, status(529), status(429, 2.0), stream_error("api_error")])
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "answer", "finish", "break", "break", "break"]),
        st.sampled_from("abcde"),
        _BREAKS,
        st.floats(0, 20),
    ),
    max_size=120,
)


@given(_STEPS, st.integers(0, 4), st.sampled_from([0.0, 0.1, 0.5]), st.integers(0, 4))
@settings(max_examples=300)
def test_neither_budget_nor_share_is_ever_exceeded(
    steps: list[tuple[str, str, Broke, float]], most: int, share: float, floor: int
) -> None:
    """Whatever happens in whatever order: counted here by hand, over exact times."""
    books = ledger(RetryRules(most, retry_share=share, retry_floor=floor), chance=0.5)
    used: Counter[Hashable] = Counter()
    asked: list[float] = []
    retried: list[float] = []
    now = 0.0
    for what, key, broke, later in steps:
        now += later
        if what == "ask":
            books.asked(now)
            asked.append(now)
        elif what == "answer":
            books.answered(now)
        elif what == "finish":
            books.finished(key)
            used[key] = 0
        elif isinstance(answer := books.decide(key, broke, now), Again):
            used[key] += 1
            retried.append(now)
            of_late = [sum(now - 60 < at <= now for at in times) for times in (retried, asked)]

            assert used[key] <= most
            assert of_late[0] <= max(floor, share * of_late[1])
            assert 0 <= answer.after_s <= 16
        else:
            assert answer.why and not answer.why.endswith(".")
