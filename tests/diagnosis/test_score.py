"""How often the diagnosis is right: homes that nobody tuned it on, from their files to the first finding."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from holdfast.diagnosis.diagnosis import diagnose
from holdfast.diagnosis.engine import Engine
from holdfast.probes import kept
from holdfast.probes.status import published
from holdfast.sessions.frames import frames
from tests.diagnosis import homes_status
from tests.diagnosis.homes import MINUTE, counted
from tests.diagnosis.mechanisms import LISTED
from tests.diagnosis.plots import SOURCES, home, plot
from tests.diagnosis.score import (
    GRADES,
    LONG_SEEDS,
    SCORE_SEEDS,
    TUNING_SEEDS,
    Marks,
    adds_up,
    diagnosed,
    marks,
    read,
    within,
)

AT_ONCE = 2
"Homes per test: none of them takes long."


@cache
def part(begin: int) -> Marks:
    """The marks of so many homes from this seed on, found once."""
    return marks(range(begin, begin + AT_ONCE))


def whole(seeds: Sequence[int]) -> Marks:
    total = Marks()
    for begin in seeds[::AT_ONCE]:
        total.add(part(begin))
    return total


def most_wrong(share: float, of: int, chance: float) -> float:
    """How many of so many may be wrong where this share is: of few, more may be by chance, but as rarely as that."""
    wrong, so_far = 0, (1 - share) ** of
    while 1 - so_far > chance:
        wrong += 1
        so_far += math.comb(of, wrong) * share**wrong * (1 - share) ** (of - wrong)
    return wrong


def is_good(found: Marks, chance: float) -> None:
    """The marks that a release needs, as far as so many homes can tell."""
    told = "\n".join([*found.mistakes, found.table(), str(found)])
    print(told)
    right, of = found.first
    assert found.on_healthy == 0, told
    assert of - right <= most_wrong(0.05, of, chance), told
    for grade, wrong in zip(GRADES, (0.05, 0.05, 0.2), strict=True):
        true, claimed = found.of(grade)
        assert claimed - true <= most_wrong(wrong, claimed, chance), told
    seen, all_seen = found.facts
    assert all_seen - seen <= most_wrong(0.05, all_seen, chance), told
    explained, rightly, caused = found.attributed
    assert rightly >= 0.85 * explained and rightly >= 0.7 * caused, told


def test_what_is_scored_was_not_tuned_on() -> None:
    """The seeds are disjoint, and those of the score have every cause, every source and every kind of home."""
    assert not set(TUNING_SEEDS) & {*SCORE_SEEDS, *LONG_SEEDS} and not set(SCORE_SEEDS) & set(LONG_SEEDS)

    plots = [plot(seed) for seed in LONG_SEEDS]
    causes = Counter(name for one in plots for name, _ in one.causes)
    assert min(causes[name] for name in LISTED) >= 10
    kinds = Counter(one.name for one in plots)
    assert set(kinds) == {"healthy", "not in the list", "small", "one", "two", "twins", "three", "large"}
    assert min(kinds.values()) >= 50 and 150 < sum(one.dirty for one in plots) < 350
    sources = Counter(source for one in plots for source in one.sources)
    assert min(sources[source] for source in SOURCES) >= 50
    assert {plot(seed).name for seed in SCORE_SEEDS} == set(kinds)


@pytest.mark.parametrize("begin", SCORE_SEEDS[::AT_ONCE])
def test_every_diagnosis_adds_up(begin: int) -> None:
    """Each failure is known by its id, explained or left unexplained, and no cause is claimed where all was well."""
    found = part(begin)

    assert found.homes == AT_ONCE
    assert found.on_healthy == 0


def test_the_first_finding_is_right_and_grades_mean_what_they_say() -> None:
    """The first right in 95% of homes with a cause; of strong findings 95% true, of suspected 80%: as far as thirty homes
    can tell. `make score` asks six hundred."""
    is_good(whole(SCORE_SEEDS), chance=0.02)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_six_hundred_homes_say_the_same() -> None:
    """With far less chance left in it."""
    is_good(marks(LONG_SEEDS), chance=0.02)


@pytest.mark.parametrize("seed", SCORE_SEEDS[2:5])
def test_the_whole_diagnosis_finds_what_was_weighed(seed: int) -> None:
    """From frames over tables to findings: the same as the case by itself, and every failure is in the tables."""
    told = home(seed)
    case, logs, store = read(told, told.sources)
    whole_one = diagnose(Engine(frames(store)), desktop=logs)

    assert whole_one.examination.findings == diagnosed(told, told.sources)[1].findings
    assert whole_one.failures == sum(counted(told).values()) == len(case.failures)
    assert sum(row["failures"] for row in whole_one.tables["per day"]) == whole_one.failures
    adds_up(told, whole_one.case, whole_one.examination)


def test_a_home_is_its_seed_s() -> None:
    """The same files and the same truth each time: a mistake can be looked at again."""
    one, other = home(SCORE_SEEDS[7]), home(SCORE_SEEDS[7])

    assert one.truth == other.truth and one.desktop == other.desktop
    assert [pen.lines for pen in one.pens] == [pen.lines for pen in other.pens]
    assert one.exchanges == other.exchanges and one.sources == other.sources


def test_an_interval_is_as_wide_as_the_homes_are_few() -> None:
    """None of three wrong says little; none of three hundred much."""
    assert within(3, 3)[0] < 0.5 and within(300, 300)[0] > 0.98
    low, high = within(95, 100)
    assert low < 0.95 < high and high - low < 0.1


def test_a_status_page_lists_what_was_and_more(tmp_path: Path) -> None:
    """In some homes it was asked: of the provider's troubles most, late, beside others that no client met."""
    told = home(60_013)
    homes_status.write(told, tmp_path)
    (kept_one,) = kept.read(tmp_path)
    past = published(kept_one)
    assert past is not None
    mine = [one for one in past.incidents if one.name == "Elevated errors"]
    windows = told.causes["overload"].windows

    assert 0 < len(mine) < len(past.incidents) and all(one.concerns for one in mine)
    assert all(any(abs(one.begun_wall_ms - begun) <= 13 * MINUTE for begun, _ in windows) for one in mine)
    asked = [seed for seed in range(60_000, 60_100) if _asked(seed)]
    assert 30 <= len(asked) <= 50


def _asked(seed: int) -> bool:
    return random.Random(f"status page {seed}").random() < homes_status.SHARE
