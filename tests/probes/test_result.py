"""What a verdict may say of a handful of tries, and what of a result is kept."""

from __future__ import annotations

import json
import math

import pytest

from holdfast.probes.result import (
    Grade,
    Result,
    among,
    as_dict,
    excluded,
    from_dict,
    line,
    most_likely_rate,
)


def test_eleven_good_tries_exclude_little() -> None:
    """11 handshakes without a failure are no proof of health: one in five could still fail."""
    assert excluded(0, 11) == "excludes a failure rate over 24%"
    assert excluded(0, 1) == "excludes a failure rate over 95%"
    assert excluded(0, 0) == "says nothing"
    assert excluded(5, 5) == "excludes no failure rate"


@pytest.mark.parametrize(("failed", "tries"), [(0, 11), (1, 10), (3, 10), (7, 40), (39, 40)])
def test_the_bound_is_the_exact_binomial_one(failed: int, tries: int) -> None:
    """At the bound so few failures come up in one of twenty series, by summing the distribution itself."""
    rate = most_likely_rate(failed, tries)
    assert rate is not None

    as_few = sum(math.comb(tries, k) * rate**k * (1 - rate) ** (tries - k) for k in range(failed + 1))

    assert as_few == pytest.approx(0.05, abs=1e-6)
    assert rate > failed / tries


def test_the_rule_of_three_is_near_it() -> None:
    """Without a failure among many, three by the number of tries."""
    rate = most_likely_rate(0, 300)
    assert rate == pytest.approx(3 / 300, rel=0.01)


def result(**changes: object) -> Result:
    known: dict[str, object] = {
        "name": "edge", "target": "api.example:443", "begun_wall_ms": 1_700_000_000_000, "took_s": 0.25,
        "grade": Grade.FINE, "verdict": "well", "says": "who", "does_not_say": "what", "facts": {"status": 405},
    }  # fmt: skip
    return Result(**(known | changes))  # type: ignore[arg-type]


def test_a_result_comes_back_as_it_was_kept() -> None:
    """Later readers get the same value."""
    one = result(facts={"ms": [1.5, None], "parts": {"a": {"b": True}}}, complete=False)

    assert from_dict(json.loads(line(one))) == one


def test_what_the_network_said_is_harmless() -> None:
    """A server's name can neither move the cursor nor bring a key into the file, nor fill it."""
    hostile = "evil\x1b[2J authorization: Bearer sk-ant-REDACTED-abcdefghijklmnop"
    one = result(
        verdict=hostile,
        facts={hostile: hostile, "many": list(range(10_000)), "nan": math.nan, "deep": deep(50)},
    )

    text = line(one)

    assert "\x1b" not in text and "u001b" not in text and "abcdefghijklmnop" not in text
    assert len(text) < 5000
    assert as_dict(one)["facts"]["nan"] is None


def deep(levels: int) -> dict[str, object]:
    found: dict[str, object] = {}
    for _ in range(levels):
        found = {"x": found}
    return found


def test_times_are_told_with_their_spread() -> None:
    """The median alone would hide the slow one."""
    assert among([0.022, 0.027, 0.131]) == "27 ms (22 to 131)"
    assert among([0.0021]) == "2.1 ms"
