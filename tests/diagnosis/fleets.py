"""Exported files of machines whose logs are known: written by the same rules as `holdfast export`, without its diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.sessions import exported
from holdfast.sessions.corpus import update
from holdfast.sessions.frames import frames
from holdfast.sessions.partition import put
from holdfast.sessions.places import roots, transcripts
from holdfast.sessions.store import Store
from tests.sessions.written import MORNING_MS, Pen

DAY_MS = 86_400_000
Rows = Sequence[Mapping[str, Any]]


def export(home: Path, fleet: Path, machine: str, *, findings: Sequence[str] = (), **about: Any) -> None:
    """The files of one machine. `findings` are causes, each of which explains all that failed."""
    store = Store(None, now_ms=MORNING_MS)
    update(store, transcripts(roots(home))[0], gaps=True)
    names = exported.KeyedNames(machine.encode())
    made = {name: frame.to_pylist() for name, frame in frames(store).items() if name in exported.FIELDS}
    rows: dict[str, Rows] = {name: exported.public_rows(name, some, names) for name, some in made.items()}
    failed = [row["chain"] for row in rows["chain"]]
    told = {"person": f"p{machine[1:]}", "schema": exported.SCHEMA, "holdfast": "1.0", "system": "Linux"}
    times = [row["at_ms"] for row in rows["request"]]
    span = {
        "first_ms": min(times, default=None),
        "last_ms": max(times, default=None),
        "exported_ms": MORNING_MS,
    }
    rows["machine"] = [{**told, **span, **about}]
    rows["finding"] = [
        {
            "hypothesis": one,
            "grade": "strong",
            "bits": 12.0,
            "share": 0.5,
            "explains": len(failed),
            "failures": 9,
        }
        for one in findings
    ]
    rows["cause"] = [{"failure": key, "hypothesis": one} for one in findings for key in failed]
    outage = {
        "begun_ms": MORNING_MS,
        "ended_ms": MORNING_MS + 60_000,
        "kind": "offline",
        "source": "desktop log",
    }
    rows["outage"] = [outage]
    rows["watched"] = [{"begun_ms": MORNING_MS, "ended_ms": MORNING_MS + 2 * DAY_MS, "source": "desktop log"}]
    put(exported.tables(machine, rows, "1.0"), fleet, machine)


def days(home: Path, number: int, failures: int, *, count: int = 6, answers: int = 4) -> Path:
    """So many days of answers, and on each so many failures; an overload on the first morning strikes every home."""
    for day in range(count):
        pen = Pen(
            f"{number:04x}{day:04x}-0000-4000-8000-000000000000",
            at_ms=MORNING_MS + day * DAY_MS,
            cwd=f"/work/umbrella-{number}",
        ).asks()
        if not day:
            pen.is_refused(1)
        for which in range(answers):
            pen.after(20).answers(f"msg_{number}_{day}_{which}")
        for which in range(failures):
            pen.after(300.4).fails(1).after(2).answers(f"msg_{number}_{day}_again_{which}")
        pen.asks().saved(home)
    return home


def fleet(place: Path, *failures: int, where: Callable[[int], Mapping[str, Any]] = lambda number: {}) -> Path:
    """Machines with so many failures a day. `where` tells of each what it says of itself."""
    for number, count in enumerate(failures):
        home = days(place / f"home {number}", number, count)
        causes = ["provider-overload", *(["fixed-limit"] if count > 1 else [])]
        export(home, place / "fleet", f"m{number:02x}", findings=causes, **where(number))
    return place / "fleet"
