"""What the provider's status page had published, as somebody asked it at the end of a home's days, in some of the homes.

People write such pages: late, of long troubles rather than of short ones, to the minute, and of many things that a client
never meets. All chance here is of a stream of its own, so that the rest of a home is the same with and without it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.probes import kept, status
from holdfast.probes.result import Result
from tests.diagnosis.homes import DAY, HOUR, MINUTE, Home
from tests.sessions.written import MORNING_MS

HOST = "api.anthropic.com"
SHARE = 0.4
"Of homes, in which it was asked."
LISTED = {"overload": 0.6, "seen together": 0.1}
"Troubles of the provider's own, and how many of them its page lists."
MINE, OTHERS = "Claude API (api.anthropic.com)", ("claude.ai", "Claude Console (platform.claude.com)")
BEFORE_DAYS = 20
"The page goes back further than the home does."


def write(home: Home, state: Path) -> None:
    """Keep what the page said, in a state directory, if it was asked in this home."""
    draw = random.Random(f"status page {home.seed}")
    if draw.random() >= SHARE:
        return
    asked_ms = MORNING_MS + (home.days - 1) * DAY + 20 * HOUR
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept.keep(state, [asked(home, asked_ms, draw)])


def asked(home: Home, at_ms: int, draw: random.Random) -> Result:
    """The probe's result of that time."""
    rows = sorted(incidents(home, at_ms, draw), key=lambda one: str(one["started_at"]), reverse=True)[:50]
    page = status.page_of(HOST)
    assert page is not None
    summary = {
        "page": {"name": "Claude"},
        "status": {"indicator": "none", "description": "All Systems Operational"},
        "incidents": [one for one in rows if one["resolved_at"] is None],
    }
    found = status.verdict("status.claude.com", page.serves, summary, {"incidents": rows}, at_ms)
    return Result(
        "status", f"{HOST}:443", at_ms, 1.0, found.grade, found.verdict, status.SAYS, status.DOES_NOT_SAY, found.facts,
        found.complete,
    )  # fmt: skip


def incidents(home: Home, until_ms: int, draw: random.Random) -> Iterator[dict[str, Any]]:
    """The provider's troubles as far as it wrote of them, and what was going on elsewhere."""
    for name, share in LISTED.items():
        for begun_ms, ended_ms in home.causes[name].windows if name in home.causes else ():
            said_ms = begun_ms + draw.randint(-5, 12) * MINUTE
            over_ms = max(ended_ms, said_ms) + draw.randint(5, 60) * MINUTE
            if draw.random() < share and said_ms < until_ms:
                yield _row("Elevated errors", "major", said_ms, over_ms, until_ms, (MINE,))
    at_ms = MORNING_MS - BEFORE_DAYS * DAY
    while (at_ms := at_ms + draw.randint(6, 90) * HOUR + draw.randint(0, 59) * MINUTE) < until_ms:
        ours = draw.random() < 0.5
        parts = (MINE,) if ours else (draw.choice(OTHERS),)
        yield _row(
            "Degraded performance" if ours else "Login is slow",
            draw.choice(("minor", "minor", "major")),
            at_ms,
            at_ms + draw.randint(20, 240) * MINUTE,
            until_ms,
            parts,
        )


def _row(
    name: str, impact: str, begun_ms: int, ended_ms: int, now_ms: int, parts: tuple[str, ...]
) -> dict[str, Any]:
    """As Statuspage has it."""
    return {
        "id": f"{name}{begun_ms}",
        "name": name,
        "impact": impact,
        "started_at": _iso(begun_ms),
        "resolved_at": _iso(ended_ms) if ended_ms < now_ms else None,
        "components": [{"name": one} for one in parts],
    }


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // MINUTE * 60, UTC).isoformat()
