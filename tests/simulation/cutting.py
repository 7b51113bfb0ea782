"""Cut a failing schedule down, and write it as a test that can be pasted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from tests.simulation.schedule import Schedule
from tests.simulation.world import Violation, play, simulated

_AT_LEAST_ONE = ("turns", "answers", "blocks")


def cut(schedule: Schedule, violation: Violation, *, plays: int = 4000) -> Schedule:
    """The smallest schedule found that still fails in the same way."""
    wanted = violation.kind
    with simulated():
        going_on = True
        while going_on and plays > 0:
            going_on = False
            for variant in smaller(schedule):
                plays -= 1
                found = play(variant)
                if found is not None and found.kind == wanted:
                    schedule, going_on = variant, True
                    break
                if plays <= 0:
                    break
    return schedule


def smaller(value: Any) -> Iterator[Any]:
    """Variants of a schedule, or of a part of one, with one thing left out or made dull; the boldest first."""
    if isinstance(value, tuple):
        for index in range(len(value)):
            yield value[:index] + value[index + 1 :]
        for index, item in enumerate(value):
            if dataclasses.is_dataclass(item):
                for variant in smaller(item):
                    yield (*value[:index], variant, *value[index + 1 :])
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for item in dataclasses.fields(value):
            given = getattr(value, item.name)
            if given != item.default:
                yield dataclasses.replace(value, **{item.name: item.default})
            if isinstance(given, tuple):
                for variant in smaller(given):
                    if variant or item.name not in _AT_LEAST_ONE:
                        yield dataclasses.replace(value, **{item.name: variant})
            elif isinstance(given, float) and given != round(given):
                yield dataclasses.replace(value, **{item.name: float(round(given))})


def pretty(value: Any, indent: int = 0) -> str:
    """A schedule as Python text that fits on the screen."""
    flat = repr(value)
    if len(flat) + indent <= 100:
        return flat
    inner = " " * (indent + 4)
    if isinstance(value, tuple):
        items = "".join(f"{inner}{pretty(item, indent + 4)},\n" for item in value)
        return f"(\n{items}{' ' * indent})"
    given = [(item.name, getattr(value, item.name)) for item in dataclasses.fields(value)
             if getattr(value, item.name) != item.default]  # fmt: skip
    items = "".join(f"{inner}{name}={pretty(part, indent + 4)},\n" for name, part in given)
    return f"{type(value).__name__}(\n{items}{' ' * indent})"


def as_test(seed: int, schedule: Schedule, violation: Violation) -> str:
    """A test for `test_stories.py`."""
    what = violation.what.partition("\n")[0].replace('"', "'")[:90]
    return (
        f'def test_seed_{seed}() -> None:\n    """Rule {violation.rule}: {what}"""\n'
        f"    goes_well(\n        {pretty(schedule, 8)}\n    )\n"
    )


def story_of(schedule: Schedule) -> tuple[str, Violation | None]:
    """What everybody did, moment by moment, up to what did not hold."""
    lines: list[str] = []
    with simulated():
        violation = play(schedule, story=lines)
    ends = next((number for number, line in enumerate(lines) if "VIOLATED" in line), len(lines))
    return "\n".join(lines[: ends + 1]), violation


def report(seed: int, schedule: Schedule, violation: Violation) -> str:
    """All that somebody needs who is to find the defect."""
    short = cut(schedule, violation)
    story, again = story_of(short)
    said = again or violation
    return f"seed {seed}: {said}\n\n{story}\n\n{as_test(seed, short, said)}"
