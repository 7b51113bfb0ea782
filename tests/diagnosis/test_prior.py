"""A hand-made report's hypotheses, each held against homes in which it is so, is not so, and cannot be told."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from holdfast.diagnosis import prior
from holdfast.diagnosis.case import Answer, Case, Failure, Span, Trip, Try
from holdfast.diagnosis.diagnosis import Diagnosis
from holdfast.diagnosis.examine import Examination, examine
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.sessions.desktop import Outage
from holdfast.sessions.environment import ANOTHERS, Environment, Fact, Skipped

DAY, HOUR, MINUTE = 86_400_000, 3_600_000, 60_000
KEYS = ["H1", "H2", "H3", "H4", "H5", "H6", "H7", "H8a", "H8b", "H8c", "H8d", "H8e", "H8f", "H8g"]


@dataclass
class Weeks:
    """Twenty days of two sessions each, twelve answers an hour apart from failures of no kind in particular."""

    seed: int = 1
    size: Callable[[random.Random], int] = lambda draw: draw.randrange(20_000, 180_000)
    answers: list[Answer] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    watched: list[Span] = field(default_factory=list)
    trips: list[Trip] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        for day in range(20):
            for place, version in enumerate(("2.1.92", "2.1.104")):
                at = day * DAY + (8 + place) * HOUR
                for _ in range(24):
                    at += self.draw.randrange(20_000, 9 * MINUTE)
                    self.answers.append(Answer(at, f"{day}-{place}", version, self.size(self.draw)))

    def fails(self, after: Answer, *, age_s: float | None = None, **changes: object) -> Weeks:
        age = self.draw.uniform(1, 150) if age_s is None else age_s
        at = after.at_ms + MINUTE + round(age * 1000)
        one = Failure(
            f"f{len(self.failures)}", (Try(at, age, "ECONNRESET"),), "recovered", at, at, after.session, after.version,
            context_tokens=after.context_tokens, idle_s=self.draw.uniform(5, 300),
        )  # fmt: skip
        self.failures.append(replace(one, **changes))  # type: ignore[arg-type]
        return self

    def sometimes(self, number: int = 60, **told: object) -> Weeks:
        """Failures that have nothing in common."""
        for one in self.draw.sample(self.answers, number):
            self.fails(one, **told)  # type: ignore[arg-type]
        return self

    def diagnosed(self) -> Diagnosis:
        case = Case(
            sorted(self.failures, key=lambda one: one.at_ms), sorted(self.answers), self.outages, self.watched,
            trips=self.trips,
        )  # fmt: skip
        found = examine(case, catalogue())
        return Diagnosis(len(case.failures), case.requests, 0, found, (), {}, (), (), case=case)

    def verdict(self, key: str, environment: Environment | None = None) -> str:
        (found,) = [one for one in prior.held(self.diagnosed(), environment) if one.key == key]
        assert found.why and found.settle
        return found.verdict


# ----- every one


def test_it_has_all_of_them_by_name() -> None:
    """H1 to H7 and each of H8's seven parts, with a verdict of its own and what settles it."""
    found = prior.held(Weeks().sometimes().diagnosed())
    assert [one.key for one in found] == KEYS
    assert {one.verdict for one in found} <= {prior.SUPPORTED, prior.CONTRADICTED, prior.OPEN}
    assert all(one.settle and list(prior.reasons(one)) for one in found)
    assert [told["key"] for told in prior.as_json(found)] == KEYS


def test_where_nothing_failed_nothing_is_held() -> None:
    assert prior.held(Diagnosis(0, 9, 0, Examination((), (), (), ()), (), {}, (), ())) == []


def test_their_causes_exist() -> None:
    """`holdfast explain NAME` knows each."""
    known = {one.name for one in catalogue()}
    assert {name for one in prior.PRIORS for name in one.ours} <= known


def test_accidents_support_none_of_them() -> None:
    """Failures that have nothing in common: none of the fourteen is so."""
    for seed in range(5):
        found = prior.held(Weeks(seed).sometimes().diagnosed())
        assert not [one.key for one in found if one.verdict == prior.SUPPORTED]


@pytest.mark.parametrize("one", prior.PRIORS, ids=lambda one: one.key)
def test_each_is_documented(one: prior.Prior) -> None:
    page = (Path(__file__).parents[2] / "docs" / "diagnosis.md").read_text()
    assert f"| `{one.key}` |" in page and all(f"`{name}`" in page for name in one.ours)


# ----- one by one


def test_limits_and_sizes() -> None:
    """H1: size alone decides nothing of a limit; open too where the same age has other owners; of young failures not so."""
    cut = Weeks().sometimes(10)
    for one in cut.draw.sample(cut.answers, 30):
        cut.fails(one, age_s=300.0 + cut.draw.uniform(-0.5, 0.5))
    assert (cut.verdict("H1"), cut.verdict("H2")) == (prior.OPEN, prior.OPEN)

    large = Weeks().sometimes(10)
    for one in sorted(large.answers, key=lambda one: -one.context_tokens)[:40]:
        large.fails(one)
    assert (large.verdict("H1"), large.verdict("H8a")) == (prior.OPEN, prior.SUPPORTED)
    at_once = Weeks().sometimes(10, age_s=5.0)
    for one in sorted(at_once.answers, key=lambda one: -one.context_tokens)[:40]:
        at_once.fails(one, age_s=5.0)
    assert (at_once.verdict("H1"), at_once.verdict("H8a")) == (prior.CONTRADICTED, prior.SUPPORTED)

    early = Weeks().sometimes(150, age_s=2.0)
    assert (early.verdict("H1"), early.verdict("H2"), early.verdict("H8a")) == (prior.CONTRADICTED,) * 3


def test_the_largest_of_small_prompts_are_no_large_ones() -> None:
    """That failures come with them is a dose, and says nothing of very large contexts: there were none."""
    small = Weeks(size=lambda draw: draw.randrange(20_000, 35_000)).sometimes(10)
    for one in sorted(small.answers, key=lambda one: -one.context_tokens)[:40]:
        small.fails(one)
    assert small.verdict("H8a") == prior.OPEN
    assert Weeks(size=lambda draw: draw.randrange(20_000, 35_000)).sometimes().verdict("H8a") == prior.OPEN


def test_alike_prompts_tell_nothing_of_size() -> None:
    """No dose, no claim, and no contradiction either."""
    same = Weeks(size=lambda _: 90_000).sometimes(age_s=20.0)
    assert (same.verdict("H8a"), same.verdict("H8b")) == (prior.OPEN, prior.OPEN)


def test_the_large_tier_shows_in_the_size() -> None:
    """Beyond 200,000 tokens only it answers: the record does not name it, and the usage does."""
    weeks = Weeks(size=lambda draw: 300_000 if draw.random() < 0.15 else 60_000)
    for one in [one for one in weeks.answers if one.context_tokens > 200_000][::3]:
        weeks.fails(one)
    assert weeks.verdict("H8b") == prior.SUPPORTED
    fair = Weeks(size=lambda draw: 300_000 if draw.random() < 0.4 else 60_000).sometimes(120)
    assert fair.verdict("H8b") == prior.CONTRADICTED


def test_outages_by_what_the_log_saw() -> None:
    """H3 and H6 need a log that covers the failures; without one nothing is said."""
    blind = Weeks().sometimes()
    assert (blind.verdict("H3"), blind.verdict("H6")) == (prior.OPEN, prior.OPEN)
    seeing = Weeks().sometimes()
    seeing.watched = [Span(0, 30 * DAY)]
    assert (seeing.verdict("H3"), seeing.verdict("H6")) == (prior.CONTRADICTED, prior.CONTRADICTED)
    away = Weeks().sometimes(5)
    away.watched = [Span(0, 30 * DAY)]
    for one in away.draw.sample(away.answers, 25):
        away.fails(one, age_s=5)
        at = away.failures[-1].at_ms
        away.outages.append(Outage(at - 20_000, at + 60_000, {"timeout", "name"}))
    assert (away.verdict("H3"), away.verdict("H6")) == (prior.SUPPORTED, prior.CONTRADICTED)


def test_no_advice_is_contradicted_by_a_verdict() -> None:
    """Where this machine had no network a cable is advised: Wi-Fi may have dropped the link, and H6 says no other."""
    weeks = Weeks().sometimes(5)
    weeks.watched = [Span(0, 30 * DAY)]
    for one in weeks.draw.sample(weeks.answers, 25):
        weeks.fails(one, age_s=5)
        at = weeks.failures[-1].at_ms
        weeks.outages.append(Outage(at - 2_000, at + 60_000, {"offline"}))
    (suspicion,) = (one for one in prior.held(weeks.diagnosed()) if one.key == "H6")

    assert [one.hypothesis for one in weeks.diagnosed().findings] == ["local-link"]
    assert suspicion.verdict == prior.OPEN and "whether its Wi-Fi had dropped the link" in suspicion.why


def test_roaming_is_told_by_its_own_cause_too() -> None:
    """The system's log names another access point: that is what the suspicion meant."""
    for kinds in ({"changed", "roam"}, {"changed"}):
        weeks = Weeks().sometimes(5)
        weeks.watched = [Span(0, 30 * DAY)]
        for one in weeks.draw.sample(weeks.answers, 25):
            weeks.fails(one, age_s=5)
            at = weeks.failures[-1].at_ms
            weeks.outages.append(Outage(at - 2_000, at - 2_000, set(kinds)))
        assert weeks.verdict("H6") == prior.SUPPORTED


def test_http_and_family_by_who_was_on_the_way() -> None:
    """The client's logs do not tell H4 and H7; flights do."""
    weeks = Weeks().sometimes()
    assert (weeks.verdict("H4"), weeks.verdict("H7")) == (prior.OPEN, prior.OPEN)
    for one in weeks.failures[:20]:
        weeks.trips.append(Trip(one.at_ms, "flights", True, failure=one.id, http="1.1", family="4"))
    assert (weeks.verdict("H4"), weeks.verdict("H7")) == (prior.CONTRADICTED, prior.CONTRADICTED)


def test_who_was_on_the_way_is_named() -> None:
    """A capture is no flight; and of what it does not tell it has not said that it went otherwise."""
    weeks = Weeks().sometimes()
    for number, one in enumerate(weeks.failures[:20]):
        family = "4" if number < 12 else None
        weeks.trips.append(Trip(one.at_ms, "capture client.pcap", True, failure=one.id, family=family))
    why = {one.key: one.why for one in prior.held(weeks.diagnosed())}
    assert why["H4"] == (
        "The client's logs do not tell by which HTTP it spoke, nor does a capture that saw its failures."
    )
    assert why["H7"] == (
        "12 of 12 failures went by IPv4, of 20 failures that a capture saw; of the other 8 the way is not told."
    )
    weeks.trips += [
        Trip(one.at_ms, source, True, failure=one.id, family="4")
        for source, one in zip(["nginx access.log:14", *["flights"] * 7], weeks.failures[12:20], strict=True)
    ]
    (told,) = [one.why for one in prior.held(weeks.diagnosed()) if one.key == "H7"]
    assert told == "20 of 20 failures that a flight, a capture or an added log saw went by IPv4."


def test_versions_of_the_same_days_alone() -> None:
    """H5: more often than its part of those days' requests, no more often, or never side by side."""
    bad = Weeks()
    for one in bad.draw.sample([one for one in bad.answers if one.version == "2.1.104"], 50):
        bad.fails(one)
    assert bad.verdict("H5") == prior.SUPPORTED
    assert Weeks().sometimes(100).verdict("H5") == prior.CONTRADICTED
    apart = Weeks()
    apart.answers = [one._replace(version=f"2.1.{80 + one.at_ms // DAY}") for one in apart.answers]
    assert apart.sometimes().verdict("H5") == prior.OPEN


def test_an_old_version_that_is_worse_is_no_newer_one() -> None:
    """H5: the claim is of a version, and the newer one beside it failed less: contradicted, by their numbers."""
    bad = Weeks()
    for one in bad.draw.sample([one for one in bad.answers if one.version == "2.1.92"], 50):
        bad.fails(one)
    for one in bad.draw.sample([one for one in bad.answers if one.version == "2.1.104"], 5):
        bad.fails(one)
    diagnosis = bad.diagnosed()
    (found,) = [one for one in prior.held(diagnosis) if one.key == "H5"]

    assert "client-version" in {one.hypothesis for one in diagnosis.findings}
    assert found.verdict == prior.CONTRADICTED
    assert (
        found.why.startswith("2.1.92 is what fails more often") and "5 of 55 failures on 20 days" in found.why
    )
    assert "where 27.5 were to be expected" in found.why


def test_the_middle_of_three_versions_is_not_the_newest_of_a_day() -> None:
    """H5: it is compared with newer ones on the days that have some, and not only with the older ones."""
    bad = Weeks()
    bad.answers = [
        one._replace(version="2.1.110") if one.version == "2.1.92" and one.at_ms // DAY % 2 else one
        for one in bad.answers
    ]
    for one in bad.draw.sample([one for one in bad.answers if one.version == "2.1.104"], 50):
        bad.fails(one)

    assert bad.verdict("H5") == prior.CONTRADICTED


def test_pauses() -> None:
    """H8c: failures after half an hour's pause, against the answers after one."""
    weeks = Weeks()
    weeks.answers += [
        Answer(day * DAY + 20 * HOUR + place, f"{day}-0", "2.1.92", 50_000)
        for day in range(20)
        for place in range(4)
    ]
    assert weeks.sometimes(100).verdict("H8c") == prior.CONTRADICTED
    assert Weeks().sometimes(30, idle_s=9000.0, age_s=0.3).verdict("H8c") == prior.SUPPORTED


def test_an_hour_of_failed_tries_is_no_pause() -> None:
    """H8c: the answer behind it came from a session that had been at work all the time."""
    weeks = Weeks()
    for last in {one.session: one for one in weeks.answers}.values():
        for number in range(4):
            began = last.at_ms + number * HOUR
            tries = tuple(Try(began + k * 5 * MINUTE, 300.0, "ECONNRESET") for k in range(1, 11))
            weeks.failures.append(
                Failure(
                    f"hour{len(weeks.failures)}", tries, "recovered", tries[0].at_ms, tries[-1].at_ms, last.session,
                    last.version, context_tokens=50_000, idle_s=1.0,
                )
            )  # fmt: skip
            weeks.answers.append(Answer(tries[-1].at_ms + 5 * MINUTE, last.session, last.version, 50_000))

    (pauses,) = [one for one in prior.held(weeks.diagnosed()) if one.key == "H8c"]
    assert pauses.why.endswith("came after a pause of 30 minutes or more, and no answered request did.")


def test_subagents() -> None:
    """H8d: without any on record it is not so; with some it is compared."""
    weeks = Weeks().sometimes()
    assert weeks.verdict("H8d") == prior.CONTRADICTED
    for one in list(weeks.answers)[::40]:
        weeks.answers += [
            Answer(one.at_ms + step, one.session, one.version, 20_000, f"a{agent}")
            for agent in range(5)
            for step in (MINUTE, 2 * MINUTE)
        ]
        for age_s in (10.0, 25.0, 45.0):
            weeks.fails(one, age_s=age_s)
    assert weeks.verdict("H8d") == prior.SUPPORTED


def test_hooks_and_modes() -> None:
    """H8e is told by the settings, where they are this machine's; H8f by nothing in logs."""
    weeks = Weeks().sometimes()
    none = Environment([Fact(name, "0 managed, 0 user, 0 project") for name in ("hooks", "MCP servers")])
    some = Environment([*none.facts[:1], Fact("MCP servers", "0 managed, 2 user, 0 project")])
    copied = Environment(none.facts, [Skipped("shell", ANOTHERS, "")])
    bypass = Environment([Fact("permission mode, user", "bypassPermissions")])
    assert [weeks.verdict("H8e", one) for one in (none, some, copied, None)] == [
        prior.CONTRADICTED, prior.OPEN, prior.OPEN, prior.OPEN,
    ]  # fmt: skip
    assert weeks.verdict("H8f", bypass) == prior.OPEN
    assert any("turn bypassPermissions on" in one.why for one in prior.held(weeks.diagnosed(), bypass))


def test_long_runs() -> None:
    """H8g: failures deep in work without a pause, against answers there."""
    weeks = Weeks()
    weeks.answers = [
        Answer(day * DAY + 8 * HOUR + block * 2 * HOUR + minute * MINUTE, str(day), "2.1.104", 50_000)
        for day in range(20)
        for block, length in enumerate((10, 10, 60, 12))
        for minute in range(0, length, 2)
    ]
    assert replace_with(weeks).sometimes(120).verdict("H8g") == prior.CONTRADICTED
    deep = replace_with(weeks)
    for one in [one for one in deep.answers if one.at_ms % DAY >= 12 * HOUR + 40 * MINUTE][::4]:
        deep.fails(one, age_s=5)
    assert deep.verdict("H8g") == prior.SUPPORTED


def replace_with(weeks: Weeks) -> Weeks:
    made = Weeks(weeks.seed)
    made.answers = list(weeks.answers)
    return made


def test_what_telemetry_alone_tells_supports_no_comparison() -> None:
    """The newer version's failures are known because its telemetry could not be sent, and the older one's went unseen."""
    weeks = Weeks()
    weeks.failures = [
        replace(one, on_record=False) for one in weeks.sometimes(300).failures if one.version == "2.1.104"
    ]
    found = {one.key: one for one in prior.held(weeks.diagnosed())}

    assert (found["H5"].verdict, found["H8a"].verdict) == (prior.OPEN, prior.OPEN)
    assert found["H5"].why == (
        f"Too little is known to compare: 0 failures and 0 answers. {len(weeks.failures)} failures that telemetry alone "
        "tells may not be compared."
    )
    weeks.failures = [replace(one, on_record=True) for one in weeks.failures]
    assert weeks.verdict("H5") == prior.SUPPORTED
