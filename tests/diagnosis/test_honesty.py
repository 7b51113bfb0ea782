"""What must not change a verdict, and what may only weaken it: the same home with more dirt, with less to look at."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.diagnosis.examine import Examination
from tests.diagnosis.homes import Home
from tests.diagnosis.plots import SOURCES, Plot, home, plot
from tests.diagnosis.score import SEEN, TUNING_SEEDS, diagnosed, judge, label, named

WATCHED = [
    seed
    for seed in TUNING_SEEDS[:400]
    if len(plot(seed).sources) >= 3 and plot(seed).name in ("one", "two", "small")
]
"Homes with several sources beside the client's own files."
STRUCK = [seed for seed in TUNING_SEEDS[:60] if plot(seed).name in ("one", "twins")]
AWAY = [
    seed
    for seed in TUNING_SEEDS[:400]
    if "system log" not in plot(seed).sources
    and plot(seed).name in ("one", "twins")
    and {name for name, _ in plot(seed).causes} & {"link_away", "flaps", "line_away", "roams", "vpn_changes"}
]
"Homes in which the network goes away, and nothing but the desktop app's log tells of it."
FINDS = ("", "mtu", "upload", "resolver", "interceptor", "v6", 100.0)
"What probes may find, `homes_probes`."


def verdicts(found: Examination) -> list[tuple[str, str, tuple[str, ...]]]:
    """What is claimed of what, and how surely."""
    return [(label(named(one)), one.grade, one.explains) for one in found.findings]


class Elsewhere(Home):
    """The same home, which keeps everything twice: in the old place of the client's, and in the new one."""

    def saved(self, home: Path) -> Path:
        super().saved(home)
        shutil.copytree(home / ".claude", home / ".config" / "claude")
        return home


class Torn(Home):
    """The same home, of which each record may be lost."""

    def saved(self, home: Path) -> Path:
        draw = random.Random(f"torn {self.seed}")
        super().saved(home)
        for path in sorted(home.rglob("*.jsonl")):
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(line for line in lines if draw.random() > 0.05))
        return home


@pytest.mark.parametrize("seed", STRUCK[:3])
def test_dirt_changes_no_claim(seed: int) -> None:
    """Torn lines, unknown records and records written twice beside the good ones: the same causes, as surely. A line that
    is torn right before a failure may cost that one its age, and so its cause."""
    told = home(seed)
    clean, soiled = (_causes(diagnosed(replace(told, dirty=coats))[1]) for coats in (0, 2))

    assert clean and {name: grade for name, (grade, _) in clean.items()} == {
        name: grade for name, (grade, _) in soiled.items()
    }
    for name, (_, explains) in clean.items():
        assert len(explains ^ soiled[name][1]) <= 0.1 * len(explains)


def _causes(found: Examination) -> dict[str, tuple[str, set[str]]]:
    return {
        label(named(one)): (one.grade, set(one.explains))
        for one in found.findings
        if not one.hypothesis.startswith(SEEN)
    }


@pytest.mark.parametrize("seed", STRUCK[3:5])
def test_a_copy_of_everything_counts_once(seed: int) -> None:
    """The client moved its directory and left the old one behind."""
    told = home(seed)

    assert verdicts(diagnosed(Elsewhere(**vars(told)))[1]) == verdicts(diagnosed(told)[1])


@pytest.mark.parametrize("seed", STRUCK[5:8])
def test_lost_records_make_nothing_false(seed: int) -> None:
    """One in twenty is gone, beginnings of failures too: what is still claimed as strong is so."""
    told = home(seed)
    true = {label(told.known(name)) for name in told.listed}
    claimed = [one for one in diagnosed(Torn(**vars(told)))[1].findings if one.grade == "strong"]

    assert {label(named(one)) for one in claimed if not one.hypothesis.startswith(SEEN)} <= true


@pytest.mark.parametrize("seed", WATCHED[:4])
def test_a_source_less_makes_nothing_false(seed: int) -> None:
    """Without its flights, its capture, its logs, its probes, one after the other and all at once: fewer claims or
    weaker ones, but none that is strong and wrong."""
    told = home(seed)
    for gone in (*({name} for name in sorted(told.sources)), told.sources):
        less = replace(told, sources=told.sources - gone)
        found = judge(less, *diagnosed(less))

        assert [one for one in found.findings if one.grade == "strong" and not one.true] == [], gone


@pytest.mark.parametrize("seed", AWAY[:4])
def test_without_the_desktop_log_an_outage_is_nobody_s(seed: int) -> None:
    """What the app would have told of the network stays open: at most that several sessions failed at once, which is so."""
    told = home(seed)
    true = {label(told.known(name)) for name in told.listed} | {"shared-outage"}
    _, found = diagnosed(told, frozenset({"desktop log"}))
    claimed = [one for one in found.findings if one.grade == "strong" and not one.hypothesis.startswith(SEEN)]

    assert {label(named(one)) for one in claimed} <= true
    assert not any(one.hypothesis in ("local-link", "link-flap", "isp-outage") for one in claimed)


@pytest.mark.parametrize("finds", FINDS)
def test_nothing_is_claimed_where_all_was_well(finds: str | float) -> None:
    """Everything was watched, and a probe may have found something: what struck nobody is the cause of nothing."""
    watched = Plot("healthy", (("accident", 3),), sources=frozenset(SOURCES), distraction=finds)
    told = home(20 + FINDS.index(finds), watched)
    _, found = diagnosed(told)

    assert [one.hypothesis for one in found.findings if not one.hypothesis.startswith(SEEN)] == []


@pytest.mark.parametrize("seed", STRUCK[8:10])
def test_a_probe_that_finds_nothing_is_no_evidence_of_a_cause(seed: int) -> None:
    """All was well when it was asked: no claim becomes another one by it, and none becomes strong."""
    told = replace(home(seed), sources=frozenset())
    without = {label(named(one)): one.grade for one in diagnosed(told)[1].findings}
    probed = replace(told, sources=frozenset({"probes"}), causes={
        name: replace(cause, probed="") for name, cause in told.causes.items()
    })  # fmt: skip
    found = {label(named(one)): one.grade for one in diagnosed(probed)[1].findings}

    assert set(found) <= set(without)
    assert all(without[name] == "strong" for name, grade in found.items() if grade == "strong")


def test_refusals_that_retries_brought_about_are_a_storm() -> None:
    """The link is away, every agent tries again, and what is asked for the first time then is refused for it."""
    told = home(51, Plot("storm", (("link_away", 120), ("retry_storm", 20), ("accident", 5))))
    found = judge(told, *diagnosed(told))

    assert {"local-link", "retry-storm"} <= {one.label for one in found.findings if one.true}
