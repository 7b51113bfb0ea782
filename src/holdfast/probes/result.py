"""What a probe brings back: facts, one sentence that weighs them, and how far that sentence reaches.

A probe is a handful of tries, so nothing here is certain. Where something was tried several times the verdict says
which rate of failure so many tries exclude (exact binomial, 95% sure, one side), and nothing smaller than that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import median
from typing import Any

from holdfast.flight.redact import safe

SURE = 0.95
"How sure a bound is: the usual convention, on the one side that matters."
DEEPEST = 6
"Levels of facts that are kept."
LONGEST_LIST = 200


class Grade(Enum):
    """How a verdict should be read."""

    FINE = "fine"
    "As it should be, as far as this probe can see."
    NOTED = "noted"
    "Worth knowing; breaks nothing by itself."
    SUSPECTED = "suspected"
    "Something here can break a long answer."
    BROKEN = "broken"
    "What was asked for does not work now."
    NOT_MEASURED = "not measured"
    "This machine, its rights or the path do not let it be asked."


@dataclass(frozen=True, slots=True)
class Result:
    """One question asked once."""

    name: str
    "The probe: `idle`."
    target: str
    "`api.anthropic.com:443`, with the proxy where one stands between."
    begun_wall_ms: int
    took_s: float
    grade: Grade
    verdict: str
    "One sentence."
    says: str
    "What it shows, and by what."
    does_not_say: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    "Plain values, by names with their units. None is not measured."
    complete: bool = True
    "False where it was interrupted: then it tells what was known by then."
    network: str | None = None
    "This machine's network while it was asked, by the name that flights have for it; None is not measured."


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe's deciding part returns; the asking part adds where and when."""

    grade: Grade
    verdict: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = True
    says: str | None = None
    "What this outcome shows, where it is not what the question shows at its best; `{target}` is as it was typed."


def as_dict(result: Result) -> dict[str, Any]:
    """For JSON; every text in it is safe to print and to keep."""
    return {
        "probe": result.name,
        "target": safe(result.target),
        "begun_wall_ms": result.begun_wall_ms,
        "took_s": round(result.took_s, 3),
        "grade": result.grade.value,
        "verdict": safe(result.verdict),
        "facts": _plain(result.facts, DEEPEST),
        "says": safe(result.says),
        "does_not_say": safe(result.does_not_say),
        "complete": result.complete,
        "network": safe(result.network) if result.network is not None else None,
    }


def from_dict(value: Mapping[str, Any]) -> Result:
    """The opposite. Raises `KeyError`, `TypeError` or `ValueError` for what `as_dict` did not write."""
    facts = value["facts"]
    if not isinstance(facts, dict):
        raise TypeError("facts")
    words = [value[key] for key in ("probe", "target", "verdict", "says", "does_not_say")]
    if not all(isinstance(word, str) for word in words):
        raise TypeError("text")
    name, target, verdict, says, does_not_say = words
    begun_wall_ms, took_s = int(value["begun_wall_ms"]), float(value["took_s"])
    grade, complete, network = Grade(value["grade"]), value["complete"] is True, value.get("network")
    return Result(
        name, target, begun_wall_ms, took_s, grade, verdict, says, does_not_say, facts, complete,
        network if isinstance(network, str) else None,
    )  # fmt: skip


def line(result: Result) -> str:
    """One line of JSON in ASCII."""
    return json.dumps(as_dict(result), ensure_ascii=True, separators=(",", ":"))


def _plain(value: Any, depth: int) -> Any:
    """Facts as JSON can hold them, bounded and harmless; text from the network is hostile."""
    if depth == 0:
        return None
    if isinstance(value, Mapping):
        return {safe(str(key)): _plain(one, depth - 1) for key, one in list(value.items())[:LONGEST_LIST]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one, depth - 1) for one in list(value)[:LONGEST_LIST]]
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return safe(str(value))


# -- how much so few tries can say


def most_likely_rate(failed: int, tries: int, sure: float = SURE) -> float | None:
    """The largest rate of failure that `failed` of `tries` do not exclude; None without a try.

    Clopper and Pearson's exact upper bound, one-sided: the rate at which so few failures would come up in 1 - `sure` of
    all such series. Without a failure it is 1 - (1 - sure) ** (1 / tries), near 3 / tries.
    """
    if tries <= 0:
        return None
    if failed >= tries:
        return 1.0
    low, high = failed / tries, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        as_few = sum(math.comb(tries, k) * rate**k * (1 - rate) ** (tries - k) for k in range(failed + 1))
        low, high = (rate, high) if as_few > 1 - sure else (low, rate)
    return high


def excluded(failed: int, tries: int) -> str:
    """`excludes a failure rate over 24%`: what follows `11 of 11 ...`. Rounded up; nothing for no try."""
    rate = most_likely_rate(failed, tries)
    if rate is None:
        return "says nothing"
    percent = math.ceil(rate * 100 - 1e-9)
    if percent >= 100:
        return "excludes no failure rate"
    return f"excludes a failure rate over {percent}%"


def middle(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return median(values) if values else None


def ms(seconds: float | None) -> float | None:
    """Milliseconds to one decimal."""
    return None if seconds is None else round(seconds * 1000, 1)


def among(values: Sequence[float]) -> str:
    """`27 ms (22 to 31)`: median and extremes of times in seconds."""
    if not values:
        return "no time"
    if len(values) == 1:
        return f"{_short(values[0])} ms"
    return f"{_short(median(values))} ms ({_short(min(values))} to {_short(max(values))})"


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.0f}" if seconds >= 0.01 else f"{seconds * 1000:.1f}"


def those(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
