"""The list of causes: every one of it is explained, can be refuted, and names a line that settles it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from holdfast.diagnosis import fix
from holdfast.diagnosis.case import Case
from holdfast.diagnosis.closers import CLOSES
from holdfast.diagnosis.hypotheses import catalogue
from holdfast.diagnosis.hypothesis import Hypothesis
from holdfast.diagnosis.witnessed import witnesses
from holdfast.probes.catalogue import QUESTIONS
from holdfast.probes.result import Grade, Result
from tests.diagnosis.hypotheses.story import START, Story

DOCS = Path(__file__).parents[3] / "docs" / "diagnosis.md"
NAMES = {one.name for one in (*catalogue(), *witnesses())}


def test_every_cause_has_its_row_in_the_documentation() -> None:
    """And the documentation's list has no cause that is not weighed."""
    rows = re.findall(r"(?m)^\| (`[a-z0-9-]+`(?:, `[a-z0-9-]+`)*) \|", DOCS.read_text(encoding="utf-8"))
    told = {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)}

    assert told >= NAMES
    assert not {name for name in told if name.startswith("seen-")} - NAMES


@pytest.mark.parametrize("one", catalogue(), ids=lambda one: one.name)
def test_every_cause_predicts_and_can_be_refuted(one: Hypothesis) -> None:
    """Its page says what it predicts; its rivals are causes, each with what tells the two apart."""
    page = inspect.cleandoc(one.__doc__ or "")

    assert "It predicts: " in page and page.split("\n")[0]
    assert one.title and one.remedy.endswith(".") and one.falsifier and not one.falsifier.endswith(".")
    assert all(rival in NAMES and told for rival, told in one.rivals.items())


@pytest.mark.parametrize("one", catalogue(), ids=lambda one: one.name)
def test_every_cause_names_what_settles_it(one: Hypothesis) -> None:
    """Asked of a case that has nothing of it, it breaks nothing, claims nothing, and still names the next step."""
    story = Story(days=3)
    story.fails(1, 60, age_s=4.0)
    case = story.case()
    ratios = one.ratios(case)

    assert len(ratios) == 1 and all(ratio >= 0 for ratio in ratios)
    assert len(one.units(case)) == 1
    assert one.brief(case, case.failures).settle or one.name in ("edge-location", "ipv6-path")


def test_a_case_without_failures_is_no_case() -> None:
    """Nothing is divided by nothing."""
    for one in catalogue():
        assert list(one.ratios(Case(()))) == []


@pytest.mark.parametrize("name", sorted(QUESTIONS))
@pytest.mark.parametrize(
    "facts",
    [{}, {"uploads": "x", "tries": 3, "resolvers": [1], "IPv6": 5, "programs": 1, "without_keepalive": [], "ended_s": "x"},
     {"uploads": [None, {}], "tries": [None, {}], "resolvers": {"a": {"A": 1}, "b": {"A": {"ms": 1, "errors": None}}},
      "IPv6": {"tries": "5"}, "IPv4": {}, "without_keepalive": {"connections": [1, {"idle_s": True}]}}],
)  # fmt: skip
def test_a_result_of_any_shape_is_survived(name: str, facts: dict[str, object]) -> None:
    """Kept results are a file in a directory: what is in it may be anything."""
    story = Story(days=3)
    for day in range(3):
        story.fails(day, 60, age_s=240.0, family="6", location="DFW")
        story.went_well(day, 5, family="4", location="ORD")
    case = story.case()
    result = Result(name, "api.anthropic.com:443", START, 1.0, Grade.NOTED, "", "", "", facts)

    for one in catalogue():
        one.ratios(case)
        told = one.asked(case, result)
        assert told is None or told.ratio > 0, one.name


def test_every_cause_says_which_end_may_close() -> None:
    """A cause without a row would be excluded by nothing, and bear everything in its favour."""
    assert set(CLOSES) == {one.name for one in catalogue()}
    assert all(not row.fits & row.never for row in CLOSES.values())


@pytest.mark.parametrize(
    ("name", "line"),
    [("ipv6-path", "holdfast run --ip 4 -- claude"), ("http2", "holdfast run --no-http2 -- claude")],
)
def test_a_gateway_that_runs_by_the_same_way_is_no_fix(name: str, line: str) -> None:
    """The remedy names an option: to be pointed at a gateway without it would change nothing."""
    remedy = next(one.remedy for one in catalogue() if one.name == name)
    advice = {"hypothesis": name, "do": remedy, "turns_least": 1, "turns_most": 2}
    gateway = fix.Setting({"ANTHROPIC_BASE_URL": "http://127.0.0.1:8484"}, "through it.", "all.")
    chosen = fix.choose(
        {"failures": 9, "requests": 99, "findings": [], "advice": [advice]}, fix.Ways(gateway, "", None, "")
    )

    assert (chosen.kind, chosen.line, chosen.env) == (fix.LINE, line, None)
