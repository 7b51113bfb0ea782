"""Whether failures come with times without network: more of them than of the time in use."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from holdfast.diagnosis.diagnosis import Diagnosis
from holdfast.flight.flights import counted, percent
from holdfast.report import plots, plots_counts
from holdfast.report.plots import Figure
from holdfast.report.plots_counts import Pile

SAMPLES = 20_000
"Times that stand for all the time in use."
_DURING = "during"
_FAR = 10**15

_NEAR: tuple[tuple[str, str, int, int], ...] = (
    (">1 h before", ">1h", -_FAR, -3_600_000),
    ("10–60 min", "1h", -3_600_000, -600_000),
    ("1–10 min", "10m", -600_000, -60_000),
    ("10–60 s", "1m", -60_000, -10_000),
    (_DURING, "0", -10_000, 10_001),
    ("10–60 s ", "1m ", 10_001, 60_000),
    ("1–10 min ", "10m ", 60_000, 600_000),
    ("10–60 min ", "1h ", 600_000, 3_600_000),
    (">1 h after", ">1h ", 3_600_000, _FAR),
)
"How far from an outage (ms), negative before it. Names differ by their spaces: an axis has each but once."


def outages(diagnosis: Diagnosis) -> Figure | None:
    """How near to times without network failures came, against all the time in use: chance would make them alike.

    The comparison is with time and not with answered requests: without network nobody is answered.
    """
    case = diagnosis.case
    away = _merged((one.begun_ms, one.ended_ms) for one in case.outages)
    watched = _merged((one.begun_ms, one.ended_ms) for one in (*case.watched, *case.link_watched))
    in_use = _both(watched, [(one.begun_ms, one.ended_ms) for one in case.active])
    if not away or not in_use:
        return None
    failed = [_to_nearest(one.at_ms, away) for one in case.failures if not _to_nearest(one.at_ms, in_use)]
    if not failed:
        return None
    total = sum(ended - begun for begun, ended in in_use)
    times = [_to_nearest(at, away) for at in _evenly(in_use, SAMPLES)]
    rows, table = [], []
    for place, (name, short, low, high) in enumerate(_NEAR):
        mine = sum(low <= near < high for near in failed)
        share, expected = mine / len(failed), sum(low <= near < high for near in times) / len(times)
        side = (
            ""
            if name.endswith(("before", "after", _DURING))
            else "before"
            if place < len(_NEAR) // 2
            else "after"
        )
        told = f"{name.strip()} {side}".strip()
        said = f"{told}: {mine} of {len(failed)} failures, {percent(expected)} of the time in use"
        rows.append(Pile(name, (("mine", share * 100), ("answered", expected * 100)), said, short=short))
        table.append(
            (told, str(mine), percent(share), plots.span(expected * total / 1000), percent(expected))
        )
    during = next(row for row in table if row[0] == _DURING)
    says = (
        f"{during[1]} of {counted(len(failed), 'failure')} began to fail while this machine was seen without network, or "
        f"within 10 s of it ({during[2]}); of the time in use it was {during[4]}. If outages had nothing to do with it, "
        "both bars of each pair would be alike. Only times that a log of outages covers are counted."
    )
    return Figure(
        "Overlap with times without network",
        says,
        lambda width: plots_counts.piles(
            width, rows, "%", "before  ←  nearest time without network  →  after", side_by_side=True
        ),
        ("before or after", "failures", "share", "time in use", "share of it"),
        tuple(table),
        (("mine", "failures"), ("answered", "time in use")),
    )


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order, those that touch made one."""
    found: list[tuple[int, int]] = []
    for begun, ended in sorted(spans):
        if found and begun <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ended))
        else:
            found.append((begun, ended))
    return found


def _both(spans: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """When both are; each in order and without overlaps."""
    found, first, second = [], 0, 0
    while first < len(spans) and second < len(others):
        begun, ended = max(spans[first][0], others[second][0]), min(spans[first][1], others[second][1])
        if begun < ended:
            found.append((begun, ended))
        if spans[first][1] < others[second][1]:
            first += 1
        else:
            second += 1
    return found


def _evenly(spans: Sequence[tuple[int, int]], most: int) -> Iterator[int]:
    """About so many times, evenly over all of them together."""
    step = max(sum(ended - begun for begun, ended in spans) // most, 1)
    over = 0
    for begun, ended in spans:
        yield from range(begun + over, ended, step)
        over = (over - (ended - begun)) % step


def _to_nearest(at_ms: int, spans: Sequence[tuple[int, int]]) -> int:
    """Milliseconds from the nearest of them, negative before it; 0 within one. They are in order and do not overlap."""
    place = bisect_right(spans, (at_ms, _FAR))
    near = max(at_ms - spans[place - 1][1], 0) if place else _FAR
    if place < len(spans) and spans[place][0] - at_ms < near:
        near = at_ms - spans[place][0]
    return near
